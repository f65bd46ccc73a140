package message

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// desk is a tracker that knows ann, and what it may say.
type desk struct {
	*person
	ann  *hosted
	self *Identity
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{person: newPerson(t, "tracker", RoleTracker), ann: newHosted(t, "ann")}
	d.self = &Identity{Chain: d.Chain, Route: d.hosts(t, 1, Host{URL: "https://tracker.example"}), FirstSeen: []time.Time{testTime()}}
	return d
}

// about is the answer to a question about ann.
func (d *desk) about(t testing.TB, q Query) Answer {
	t.Helper()
	a := Answer{
		Tracker: d.Address(), Time: testTime(), Query: q, Found: true,
		Subject: &Identity{Chain: d.ann.Chain, Route: d.ann.route, FirstSeen: []time.Time{testTime()}},
		Servers: map[Address]*Identity{d.ann.server.Address(): {Chain: d.ann.server.Chain, Route: d.ann.serverRoute}},
	}
	if q.Name != "" {
		a.Name = must(SignName(NameRecord{Tracker: d.Address(), Name: q.Name, Address: d.ann.Address(), Time: testTime()}, d.Signer))(t)
	}
	if q.Self() {
		a.Subject, a.Servers = d.self, nil
	}
	return a
}

// asked is an answer for the vectors, read so long after it was given.
func (d *desk) asked(t testing.TB, s *wirev1.Signed, q Query, age time.Duration) inputs {
	t.Helper()
	in := inputs{Cards: cardsOf(t, d.Chain), Statement: bytesOf(t, s), Name: q.Name, Now: millis(testTime().Add(age))}
	if !q.Address.IsZero() {
		in.Address = q.Address.String()
	}
	return in
}

func TestAnswers(t *testing.T) {
	d := newDesk(t)
	for name, q := range map[string]Query{
		"address": {Address: d.ann.Address()}, "name": {Name: "ann"}, "itself": {}, "host is no part of it": {Name: "ann", Host: "tracker.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := must(SignAnswer(d.about(t, q), d.Signer))(t)
			vec(t, "answers/open_answer", name, d.asked(t, s, q, 0), 0)
			a := must(OpenAnswer(crypto.Single{}, d.Chain, s, q, testTime()))(t)
			if !a.Found || a.Tracker != d.Address() || !a.Time.Equal(testTime()) || a.Subject.FirstSeen[0] != testTime() || a.Stale {
				t.Errorf("got %+v", a)
			}
			if q.Name != "" && (a.Name == nil || a.Name.Address != d.ann.Address()) {
				t.Errorf("name record %+v", a.Name)
			}
			if !q.Self() && (a.Subject.Address() != d.ann.Address() || a.Servers[d.ann.server.Address()].Route.Hosts[0].URL != "https://mail.example") {
				t.Error("the bundle is not whole")
			}
			if got := must(AnswerTracker(s))(t); got != d.Address() {
				t.Errorf("claims to come from %s", got)
			}
		})
	}
	q := Query{Address: user(t, "nobody").Address()}
	s := must(SignAnswer(Answer{Tracker: d.Address(), Time: testTime(), Query: q}, d.Signer))(t)
	if a := must(OpenAnswer(crypto.Single{}, d.Chain, s, q, testTime()))(t); a.Found || a.Subject != nil {
		t.Error("found nobody")
	}
	s = must(SignAnswer(d.about(t, Query{}), d.Signer))(t)
	vec(t, "answers/open_self_answer", "self", inputs{Statement: bytesOf(t, s), Now: millis(testTime())}, 0)
	vec(t, "answers/open_self_answer", "self, pinned", inputs{Statement: bytesOf(t, s), Address: d.Address().String(), Now: millis(testTime())}, 0)
	vec(t, "answers/open_self_answer", "self, pinned to another", inputs{Statement: bytesOf(t, s), Address: d.ann.Address().String(), Now: millis(testTime())}, BadSignature)
	for _, want := range []Address{{}, d.Address()} {
		if a := must(OpenSelfAnswer(crypto.Single{}, want, s, testTime()))(t); a.Subject.Address() != d.Address() {
			t.Error("not about itself")
		}
	}
	_, err := OpenSelfAnswer(crypto.Single{}, d.ann.Address(), s, testTime())
	refused(t, err, BadSignature)
}

func TestAnswerAge(t *testing.T) {
	d := newDesk(t)
	q := Query{Address: d.ann.Address()}
	s := must(SignAnswer(d.about(t, q), d.Signer))(t)
	for age, want := range map[time.Duration]Code{
		-MaxAhead: 0, -MaxAhead - time.Millisecond: Clock, AnswerLife: 0, AnswerLife + time.Millisecond: Expired, 1 << 62: Expired,
	} {
		vec(t, "answers/open_answer", "age "+age.String(), d.asked(t, s, q, min(age, 1000*day)), want)
		if _, err := OpenAnswer(crypto.Single{}, d.Chain, s, q, testTime().Add(age)); want != 0 || err != nil {
			refused(t, err, want)
		}
	}
}

func TestAnswerRefusals(t *testing.T) {
	d := newDesk(t)
	bob := newHosted(t, "bob")
	q, byName := Query{Address: d.ann.Address()}, Query{Name: "ann"}
	closing := d.draft()
	closing.Closed = true
	closed := after(t, d.Chain, closing, d.paper)
	anew := d.draft()
	anew.Signers = []crypto.VerifyKey{key(t, "device").Public()}
	rolled := after(t, d.Chain, anew, d.paper)
	usersWord := d.about(t, q)
	usersWord.Tracker = bob.Address()
	record := func(r NameRecord, k crypto.SigningKey) *wirev1.Signed { return must(SignName(r, k))(t).Signed }
	sound := NameRecord{Tracker: d.Address(), Name: "ann", Address: d.ann.Address(), Time: testTime()}
	with := func(edit func(r *NameRecord)) NameRecord { r := sound; edit(&r); return r }
	for name, c := range map[string]struct {
		q     Query
		chain *Chain
		edit  func(w *wirev1.Answer)
		want  Code
	}{
		"no tracker":            {q, d.Chain, func(w *wirev1.Answer) { w.Tracker = nil }, Invalid},
		"by another tracker":    {q, bob.server.Chain, func(*wirev1.Answer) {}, Invalid},
		"a closed tracker":      {q, closed, func(*wirev1.Answer) {}, Denied},
		"a removed key":         {q, rolled, func(*wirev1.Answer) {}, BadSignature},
		"time before 1970":      {q, d.Chain, func(w *wirev1.Answer) { w.Time = -1 }, Invalid},
		"address of no form":    {q, d.Chain, func(w *wirev1.Answer) { w.Address = w.Address[1:] }, Invalid},
		"to another question":   {q, d.Chain, func(w *wirev1.Answer) { w.Address = bob.Address().Bytes() }, Invalid},
		"to another name":       {byName, d.Chain, func(w *wirev1.Answer) { w.Name = "anne" }, Invalid},
		"address and name":      {byName, d.Chain, func(w *wirev1.Answer) { w.Address = d.ann.Address().Bytes() }, Invalid},
		"name of no form":       {byName, d.Chain, func(w *wirev1.Answer) { w.Name = "Ann" }, Invalid},
		"found without subject": {q, d.Chain, func(w *wirev1.Answer) { w.Subject = nil }, Invalid},
		"subject but not found": {q, d.Chain, func(w *wirev1.Answer) { w.Found = false }, Invalid},
		"does not know itself":  {Query{}, d.Chain, func(w *wirev1.Answer) { w.Found, w.Subject = false, nil }, Invalid},
		"about another":         {q, d.Chain, func(w *wirev1.Answer) { w.Subject = (&Identity{Chain: bob.Chain}).Wire() }, BadSignature},
		"another as itself":     {Query{}, d.Chain, func(w *wirev1.Answer) { w.Subject = (&Identity{Chain: bob.server.Chain}).Wire() }, BadSignature},
		"cards in part":         {q, d.Chain, func(w *wirev1.Answer) { w.Subject.Cards, w.Subject.FirstSeen = nil, nil }, NeedBundle},
		"five servers":          {q, d.Chain, func(w *wirev1.Answer) { s := w.Servers[0]; w.Servers = []*wirev1.Identity{s, s, s, s, s} }, Invalid},
		"a server of no form":   {q, d.Chain, func(w *wirev1.Answer) { w.Servers[0].Cards[0].Key = nil }, Invalid},
		"no name record":        {byName, d.Chain, func(w *wirev1.Answer) { w.NameRecord = nil }, Invalid},
		"name of another tracker": {byName, d.Chain, func(w *wirev1.Answer) {
			w.NameRecord = record(with(func(r *NameRecord) { r.Tracker = bob.Address() }), d.Signer)
		}, Invalid},
		"name by another key": {byName, d.Chain, func(w *wirev1.Answer) { w.NameRecord = record(sound, bob.Signer) }, BadSignature},
		"name record says another": {byName, d.Chain, func(w *wirev1.Answer) {
			w.NameRecord = record(with(func(r *NameRecord) { r.Address = bob.Address() }), d.Signer)
		}, Invalid},
		"name record of another": {byName, d.Chain, func(w *wirev1.Answer) { w.NameRecord = record(with(func(r *NameRecord) { r.Name = "anne" }), d.Signer) }, Invalid},
		"many servers in one":    {q, d.Chain, func(w *wirev1.Answer) { w.Servers[0].Cards = make([]*wirev1.Signed, maxIdentityFields+1) }, TooLarge},
		"many empty servers":     {q, d.Chain, func(w *wirev1.Answer) { w.Servers = make([]*wirev1.Identity, maxAnswerFields+1) }, TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := must(SignAnswer(d.about(t, c.q), d.Signer))(t)
			var w wirev1.Answer
			if err := proto.Unmarshal(s.Body, &w); err != nil {
				t.Fatal(err)
			}
			c.edit(&w)
			fillNil(&w)
			s = must(sign(kindAnswer, &w, d.Signer))(t)
			_, err := OpenAnswer(crypto.Single{}, c.chain, s, c.q, testTime())
			refused(t, err, c.want)
			in := d.asked(t, s, c.q, 0)
			in.Cards = cardsOf(t, c.chain)
			vec(t, "answers/open_answer", name, in, c.want)
		})
	}
	_, err := OpenAnswer(crypto.Single{}, bob.Chain, must(SignAnswer(usersWord, bob.Signer))(t), q, testTime())
	refused(t, err, Invalid)
	forged := must(SignAnswer(d.about(t, q), d.Signer))(t)
	forged.Signature[0] ^= 1
	_, err = OpenAnswer(crypto.Single{}, d.Chain, forged, q, testTime())
	refused(t, err, BadSignature)
	_, err = AnswerTracker(nil)
	refused(t, err, Invalid)
}

// fillNil puts empty messages where a test made a list of nothing.
func fillNil(w *wirev1.Answer) {
	for i, s := range w.Servers {
		if s == nil {
			w.Servers[i] = &wirev1.Identity{}
			continue
		}
		for j, c := range s.Cards {
			if c == nil {
				s.Cards[j] = &wirev1.Signed{}
			}
		}
	}
}

func TestSelfAnswerRefusals(t *testing.T) {
	d := newDesk(t)
	closing := d.draft()
	closing.Closed = true
	for name, c := range map[string]struct {
		edit func(a *Answer)
		by   crypto.SigningKey
		want Code
	}{
		"about somebody else": {func(a *Answer) { a.Subject = &Identity{Chain: d.ann.server.Chain} }, d.Signer, Invalid},
		"about nobody":        {func(a *Answer) { a.Subject, a.Found = nil, false }, d.Signer, Invalid},
		"a user":              {func(a *Answer) { a.Tracker, a.Subject = d.ann.Address(), &Identity{Chain: d.ann.Chain} }, d.ann.Signer, Invalid},
		"closed":              {func(a *Answer) { a.Subject = &Identity{Chain: after(t, d.Chain, closing, d.paper)} }, d.Signer, Denied},
		"by another key":      {func(*Answer) {}, d.ann.Signer, BadSignature},
		"a question":          {func(a *Answer) { a.Query = Query{Name: "ann"} }, d.Signer, Invalid},
		"old":                 {func(a *Answer) { a.Time = testTime().Add(-time.Hour) }, d.Signer, Expired},
		"in part":             {func(a *Answer) { a.Subject = &Identity{Chain: &Chain{}} }, d.Signer, Invalid},
		"a server of no form": {func(a *Answer) { a.Servers = map[Address]*Identity{{1}: {Chain: &Chain{}}} }, d.Signer, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.about(t, Query{})
			c.edit(&a)
			s := must(SignAnswer(a, c.by))(t)
			_, err := OpenSelfAnswer(crypto.Single{}, Address{}, s, testTime())
			refused(t, err, c.want)
			vec(t, "answers/open_self_answer", "self: "+name, inputs{Statement: bytesOf(t, s), Now: millis(testTime())}, c.want)
		})
	}
	forged := must(SignAnswer(d.about(t, Query{}), d.Signer))(t)
	forged.Signature[0] ^= 1
	_, err := OpenSelfAnswer(crypto.Single{}, Address{}, forged, testTime())
	refused(t, err, BadSignature)
}

func TestQueries(t *testing.T) {
	a := user(t, "ann").Address()
	for name, q := range map[string]Query{"address": {Address: a}, "name": {Name: "ann", Host: "tracker.example"}, "self": {}} {
		if got, err := OpenQuery(q.Wire()); err != nil || got != q || got.Self() != (name == "self") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, w := range map[string]*wirev1.Query{
		"short address":    {Address: a.Bytes()[1:]},
		"address and name": {Address: a.Bytes(), Name: "ann"},
		"name of no form":  {Name: "Ann"},
		"long host":        {Name: "ann", Host: string(make([]byte, 301))},
	} {
		if _, err := OpenQuery(w); CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if q := must(OpenQuery(nil))(t); !q.Self() {
		t.Error("no query is a query about the answerer")
	}
}

func TestNameRecords(t *testing.T) {
	d := newDesk(t)
	good := NameRecord{Tracker: d.Address(), Name: "ann", Address: d.ann.Address(), Time: testTime()}
	r := must(OpenName(crypto.Single{}, d.Chain, must(SignName(good, d.Signer))(t).Signed))(t)
	vec(t, "names/open_name", "record", inputs{Cards: cardsOf(t, d.Chain), Statement: bytesOf(t, r.Signed)}, 0)
	if r.Name != "ann" || r.Address != d.ann.Address() || !r.Time.Equal(testTime()) || r.Tracker != d.Address() {
		t.Errorf("got %+v", r)
	}
	server := d.ann.server
	for name, c := range map[string]struct {
		edit  func(w *wirev1.NameRecord)
		chain *Chain
		by    crypto.SigningKey
		want  Code
	}{
		"no tracker":      {func(w *wirev1.NameRecord) { w.Tracker = nil }, d.Chain, d.Signer, Invalid},
		"no address":      {func(w *wirev1.NameRecord) { w.Address = nil }, d.Chain, d.Signer, Invalid},
		"name of no form": {func(w *wirev1.NameRecord) { w.Name = "ad1x" }, d.Chain, d.Signer, Invalid},
		"before 1970":     {func(w *wirev1.NameRecord) { w.Time = -1 }, d.Chain, d.Signer, Invalid},
		"by a server":     {func(w *wirev1.NameRecord) { w.Tracker = server.Address().Bytes() }, server.Chain, server.Signer, Invalid},
		"by another key":  {func(*wirev1.NameRecord) {}, d.Chain, server.Signer, BadSignature},
	} {
		w := &wirev1.NameRecord{Tracker: d.Address().Bytes(), Name: "ann", Address: d.ann.Address().Bytes(), Time: 1}
		c.edit(w)
		s := must(sign(kindName, w, c.by))(t)
		_, err := OpenName(crypto.Single{}, c.chain, s)
		vec(t, "names/open_name", "record: "+name, inputs{Cards: cardsOf(t, c.chain), Statement: bytesOf(t, s)}, c.want)
		if CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := must(SignName(good, d.Signer))(t).Signed
	s.Signature[0] ^= 1
	_, err := OpenName(crypto.Single{}, d.Chain, s)
	refused(t, err, BadSignature)
	_, err = OpenName(crypto.Single{}, d.Chain, nil)
	refused(t, err, Invalid)
	_, err = SignName(good, crypto.SigningKey{})
	refused(t, err, Internal)
}
