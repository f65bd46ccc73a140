package message

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const day = 24 * time.Hour

// hosted is a person with a mail server, and the route that says so.
type hosted struct {
	*person
	server      *person
	serverRoute *Route
	ticket      *Ticket
	route       *Route
}

func newHosted(t testing.TB, label string) *hosted {
	t.Helper()
	h := &hosted{person: user(t, label), server: newPerson(t, "server of "+label, RoleServer)}
	h.serverRoute = h.server.hosts(t, 1, Host{URL: "https://mail.example", Pin: [32]byte{1}})
	h.ticket = must(SignTicket(h.server.Address(), h.Address(), testTime(), testTime().Add(90*day), h.server.Signer))(t)
	h.route = must(SignRoute(Route{
		Pair: Pair{Route: 1}, Time: testTime(), Expires: testTime().Add(90 * day),
		Services: []Service{{Purpose: PurposeAny, Server: h.server.Address(), Ticket: h.ticket}},
	}, h.Chain, h.Signer))(t)
	return h
}

// hosts is a server's or tracker's route.
func (p *person) hosts(t testing.TB, seq uint64, hosts ...Host) *Route {
	t.Helper()
	return must(SignRoute(Route{Pair: Pair{Route: seq}, Time: testTime(), Expires: testTime().Add(90 * day), Hosts: hosts}, p.Chain, p.Signer))(t)
}

// rawRoute takes a route apart.
func rawRoute(t testing.TB, r *Route) *wirev1.Route {
	t.Helper()
	var w wirev1.Route
	if err := proto.Unmarshal(r.Signed.Body, &w); err != nil {
		t.Fatal(err)
	}
	return &w
}

func TestRouteRefusals(t *testing.T) {
	ann, bob := newHosted(t, "ann"), newHosted(t, "bob")
	revoked := ann.draft()
	revoked.Signers = []crypto.VerifyKey{key(t, "device").Public()}
	gone := after(t, ann.Chain, revoked, ann.paper)
	users := func(edit func(w *wirev1.Route)) *wirev1.Signed {
		w := rawRoute(t, ann.route)
		edit(w)
		return must(sign(kindRoute, w, ann.Signer))(t)
	}
	servers := func(edit func(w *wirev1.Route)) *wirev1.Signed {
		w := rawRoute(t, ann.serverRoute)
		edit(w)
		return must(sign(kindRoute, w, ann.server.Signer))(t)
	}
	year := int64(MaxRouteLife / time.Millisecond)
	for name, c := range map[string]struct {
		chain *Chain
		route *wirev1.Signed
		want  Code
	}{
		"none":                   {ann.Chain, nil, Invalid},
		"no address":             {ann.Chain, users(func(w *wirev1.Route) { w.Address = nil }), Invalid},
		"of another address":     {bob.Chain, ann.route.Signed, Invalid},
		"no card":                {ann.Chain, users(func(w *wirev1.Route) { w.CardId = nil }), Invalid},
		"a card not known":       {ann.Chain, users(func(w *wirev1.Route) { w.CardId[0] ^= 1 }), NeedBundle},
		"a removed device":       {gone, ann.route.Signed, BadSignature},
		"expires at its time":    {ann.Chain, users(func(w *wirev1.Route) { w.Expires = w.Time }), Invalid},
		"longer than a year":     {ann.Chain, users(func(w *wirev1.Route) { w.Expires = w.Time + year + 1 }), Invalid},
		"exactly a year":         {ann.Chain, users(func(w *wirev1.Route) { w.Expires = w.Time + year }), 0},
		"time before 1970":       {ann.Chain, users(func(w *wirev1.Route) { w.Time = -1 }), Invalid},
		"no services":            {ann.Chain, users(func(w *wirev1.Route) { w.Services = nil }), 0},
		"five services":          {ann.Chain, users(func(w *wirev1.Route) { s := w.Services[0]; w.Services = []*wirev1.Service{s, s, s, s, s} }), Invalid},
		"hosts of a user":        {ann.Chain, users(func(w *wirev1.Route) { w.Hosts = []*wirev1.Host{{Url: "https://victim.example"}} }), Invalid},
		"no purpose":             {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Purpose = 0 }), Invalid},
		"unknown purpose":        {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Purpose = 9 }), Invalid},
		"no server":              {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Server = nil }), Invalid},
		"no ticket":              {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Ticket = nil }), Invalid},
		"ticket of another":      {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Ticket = bob.ticket.Signed }), Invalid},
		"ticket for another":     {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Server = bob.Address().Bytes() }), Invalid},
		"services of a server":   {ann.server.Chain, servers(func(w *wirev1.Route) { w.Services = rawRoute(t, ann.route).Services }), Invalid},
		"no hosts":               {ann.server.Chain, servers(func(w *wirev1.Route) { w.Hosts = nil }), Invalid},
		"five hosts":             {ann.server.Chain, servers(func(w *wirev1.Route) { h := w.Hosts[0]; w.Hosts = []*wirev1.Host{h, h, h, h, h} }), Invalid},
		"a host with a path":     {ann.server.Chain, servers(func(w *wirev1.Route) { w.Hosts[0].Url += "/path" }), Invalid},
		"a pin of 31 bytes":      {ann.server.Chain, servers(func(w *wirev1.Route) { w.Hosts[0].Pin = make([]byte, 31) }), Invalid},
		"a pin of zeros":         {ann.server.Chain, servers(func(w *wirev1.Route) { w.Hosts[0].Pin = make([]byte, 32) }), Invalid},
		"no pin":                 {ann.server.Chain, servers(func(w *wirev1.Route) { w.Hosts[0].Pin = nil }), 0},
		"signature altered":      {ann.Chain, &wirev1.Signed{Body: ann.route.Signed.Body, Key: ann.route.Signed.Key, Signature: make([]byte, 64)}, BadSignature},
		"too large":              {ann.Chain, &wirev1.Signed{Body: make([]byte, MaxRoute+1)}, TooLarge},
		"ticket over before now": {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Ticket = rawTicket(t, ann, 2, 2) }), Invalid},
		"ticket before 1970":     {ann.Chain, users(func(w *wirev1.Route) { w.Services[0].Ticket = rawTicket(t, ann, -1, 2) }), Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenRoute(crypto.Single{}, c.chain, c.route)
			if c.route != nil {
				vec(t, "routes/open_route", name, inputs{Cards: cardsOf(t, c.chain), Statement: bytesOf(t, c.route)}, c.want)
			}
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
			}
		})
	}
}

// rawTicket is a ticket for ann with these times.
func rawTicket(t testing.TB, ann *hosted, from, expires int64) *wirev1.Signed {
	t.Helper()
	w := &wirev1.Ticket{Server: ann.server.Address().Bytes(), User: ann.Address().Bytes(), Time: from, Expires: expires}
	return must(sign(kindTicket, w, ann.server.Signer))(t)
}

func TestTicket(t *testing.T) {
	ann := newHosted(t, "ann")
	closed := ann.server.draft()
	closed.Closed = true
	anew := ann.server.draft()
	anew.Signers = []crypto.VerifyKey{key(t, "device").Public()}
	forged := proto.CloneOf(ann.ticket.Signed)
	forged.Signature[9] ^= 1
	usersWord := must(SignTicket(ann.Address(), ann.Address(), testTime(), testTime().Add(day), ann.Signer))(t)
	for name, c := range map[string]struct {
		ticket *wirev1.Signed
		server *Chain
		now    time.Time
		want   Code
	}{
		"good":                {ann.ticket.Signed, ann.server.Chain, testTime(), 0},
		"a moment before end": {ann.ticket.Signed, ann.server.Chain, testTime().Add(90*day - 1), 0},
		"over":                {ann.ticket.Signed, ann.server.Chain, testTime().Add(90 * day), Expired},
		"10 minutes ahead":    {ann.ticket.Signed, ann.server.Chain, testTime().Add(-MaxAhead), 0},
		"further ahead":       {ann.ticket.Signed, ann.server.Chain, testTime().Add(-MaxAhead - 1), Clock},
		"of another server":   {ann.ticket.Signed, newHosted(t, "bob").server.Chain, testTime(), Invalid},
		"by a user":           {usersWord.Signed, ann.Chain, testTime(), Invalid},
		"closed server":       {ann.ticket.Signed, after(t, ann.server.Chain, closed, ann.server.paper), testTime(), Denied},
		"removed key":         {ann.ticket.Signed, after(t, ann.server.Chain, anew, ann.server.paper), testTime(), BadSignature},
		"forged":              {forged, ann.server.Chain, testTime(), BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			vec(t, "tickets/ticket", name, inputs{Cards: cardsOf(t, c.server), Statement: bytesOf(t, c.ticket), Now: c.now.UnixMilli()}, c.want)
			err := must(ParseTicket(c.ticket))(t).Verify(crypto.Single{}, c.server, c.now)
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
			}
		})
	}
	for name, w := range map[string]*wirev1.Ticket{
		"no server": {User: ann.Address().Bytes(), Expires: 1},
		"no user":   {Server: ann.Address().Bytes(), Expires: 1},
	} {
		_, err := ParseTicket(must(sign(kindTicket, w, ann.Signer))(t))
		if CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := SignTicket(ann.Address(), ann.Address(), testTime(), testTime(), crypto.SigningKey{})
	refused(t, err, Internal)
	_, err = SignRoute(*ann.route, ann.Chain, crypto.SigningKey{})
	refused(t, err, Internal)
}

func TestRouteReaders(t *testing.T) {
	ann := newHosted(t, "ann")
	other, none := Address{1}, Address{2}
	r := &Route{Expires: testTime(), Services: []Service{
		{Purpose: PurposeInbox, Server: ann.server.Address()}, {Purpose: PurposeOutbox, Server: other}, {Purpose: PurposeAny, Server: other},
	}}
	if !r.Serves(ann.server.Address(), PurposeOutbox, PurposeInbox) || r.Serves(ann.server.Address(), PurposeOutbox) || r.Serves(none, PurposeAny) || !r.Serves(other, PurposeMirror) {
		t.Error("who serves what")
	}
	if got := r.Servers(PurposeInbox); len(got) != 2 || got[0] != ann.server.Address() || got[1] != other {
		t.Errorf("inbox at %v", got)
	}
	if r.Expired(testTime().Add(-1)) || !r.Expired(testTime()) {
		t.Error("expired at the wrong moment")
	}
	order := []Pair{{0, 0}, {0, 1<<64 - 1}, {1, 0}, {1, 1}, {2, 0}}
	for i, p := range order {
		for j, q := range order {
			if got := p.Compare(q); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v against %v: %d", p, q, got)
			}
		}
	}
}

func TestIdentity(t *testing.T) {
	ann := newHosted(t, "ann")
	c := line(t, ann.person, 3)
	seen := []time.Time{testTime(), testTime().Add(1e6), testTime().Add(2e6)}
	i := &Identity{Chain: c, Route: ann.route, FirstSeen: seen}
	got := must(OpenIdentity(crypto.Single{}, i.Wire(), nil))(t)
	if got.Address() != ann.Address() || got.Pair() != (Pair{0, 1}) || len(got.Sighting().FirstSeen) != 3 || !got.FirstSeen[2].Equal(seen[2]) {
		t.Errorf("got %+v", got)
	}
	if p := (&Identity{Chain: c}).Pair(); p != (Pair{2, 0}) {
		t.Errorf("pair without a route %v", p)
	}
	for n := range 4 {
		w := i.WireAfter(n)
		vec(t, "identities/open_identity", fmt.Sprintf("after %d cards", n), inputs{Cards: cardsOf(t, c), Identity: bytesOf(t, w)}, 0)
		if back := must(OpenIdentity(crypto.Single{}, w, c))(t); back.Chain.Len() != 3 || (n > 0) != (len(w.FirstSeen) == 0) {
			t.Errorf("after %d: %d cards, %d times", n, back.Chain.Len(), len(w.FirstSeen))
		}
		if a := must(IdentityAddress(w))(t); a != ann.Address() {
			t.Errorf("after %d: of %s", n, a)
		}
	}
	if err := got.NotAhead(testTime().Add(-MaxAhead)); CodeOf(err) != Clock {
		t.Errorf("a later card that is ahead: %v", err)
	}
	if err := (&Identity{Chain: ann.Chain, Route: ann.route}).NotAhead(testTime().Add(-MaxAhead)); err != nil {
		t.Error(err)
	}
	if err := (&Identity{Chain: ann.Chain}).NotAhead(testTime()); err != nil {
		t.Error(err)
	}
}

func TestIdentityRefusals(t *testing.T) {
	ann, bob := newHosted(t, "ann"), newHosted(t, "bob")
	c := line(t, ann.person, 3)
	full := (&Identity{Chain: c, Route: ann.route}).Wire()
	part := (&Identity{Chain: c, Route: ann.route}).WireAfter(1)
	with := func(w *wirev1.Identity, edit func(w *wirev1.Identity)) *wirev1.Identity {
		w = proto.CloneOf(w)
		edit(w)
		return w
	}
	for name, x := range map[string]struct {
		w     *wirev1.Identity
		known *Chain
		want  Code
	}{
		"nil":                      {nil, nil, Invalid},
		"empty":                    {&wirev1.Identity{}, nil, Invalid},
		"nil card":                 {&wirev1.Identity{Cards: []*wirev1.Signed{nil}}, nil, Invalid},
		"in part, nobody known":    {part, nil, NeedBundle},
		"a route alone":            {with(full, func(w *wirev1.Identity) { w.Cards = nil }), nil, NeedBundle},
		"in part, a gap":           {(&Identity{Chain: c, Route: ann.route}).WireAfter(2), ann.Chain, NeedBundle},
		"in part, another known":   {part, bob.Chain, NeedBundle},
		"of another than known":    {full, bob.Chain, Invalid},
		"another's route":          {with(full, func(w *wirev1.Identity) { w.Route = bob.route.Signed }), nil, Invalid},
		"too few times":            {with(full, func(w *wirev1.Identity) { w.FirstSeen = []int64{1, 2} }), nil, Invalid},
		"too many times":           {with(full, func(w *wirev1.Identity) { w.FirstSeen = []int64{1, 2, 3, 4} }), nil, Invalid},
		"a time before 1970":       {with(full, func(w *wirev1.Identity) { w.FirstSeen = []int64{1, 2, -3} }), nil, Invalid},
		"times for a part":         {with(part, func(w *wirev1.Identity) { w.FirstSeen = []int64{1, 2} }), c, Invalid},
		"in part, no card's route": {with(part, func(w *wirev1.Identity) { w.Route = nil }), nil, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenIdentity(crypto.Single{}, x.w, x.known)
			refused(t, err, x.want)
			if x.w != nil && !slices.Contains(x.w.Cards, nil) {
				in := inputs{Identity: bytesOf(t, x.w)}
				if x.known != nil {
					in.Cards = cardsOf(t, x.known)
				}
				vec(t, "identities/open_identity", name, in, x.want)
			}
		})
	}
	_, err := OpenIdentity(crypto.Single{}, part, nil)
	if r, ok := asRefused(err); !ok || r.Address != ann.Address() {
		t.Errorf("does not say whose bundle is needed: %v", err)
	}
}

func TestVerifyTickets(t *testing.T) {
	ann, bob := newHosted(t, "ann"), newHosted(t, "bob")
	i := &Identity{Chain: ann.Chain, Route: ann.route}
	servers := map[Address]*Identity{ann.server.Address(): {Chain: ann.server.Chain}}
	if err := i.VerifyTickets(crypto.Single{}, servers, testTime()); err != nil {
		t.Error(err)
	}
	if err := (&Identity{Chain: ann.Chain}).VerifyTickets(crypto.Single{}, nil, testTime()); err != nil {
		t.Error(err)
	}
	refused(t, i.VerifyTickets(crypto.Single{}, nil, testTime()), NeedBundle)
	refused(t, i.VerifyTickets(crypto.Single{}, servers, testTime().Add(91*day)), Expired)
	servers[ann.server.Address()] = &Identity{Chain: bob.server.Chain}
	refused(t, i.VerifyTickets(crypto.Single{}, servers, testTime()), Invalid)
}
