package message

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// rawHead takes a head apart.
func rawHead(t testing.TB, s *wirev1.Signed) (*wirev1.Head, *wirev1.Binding) {
	t.Helper()
	var w wirev1.Head
	var b wirev1.Binding
	if err := proto.Unmarshal(s.Body, &w); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(w.Binding, &b); err != nil {
		t.Fatal(err)
	}
	return &w, &b
}

func TestHeadRefusals(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	first := ann.seal(t, ann.letter(t, "x", bob)).Head
	private, public := first.Signed, ann.seal(t, ann.post(t, "", "x")).Head.Signed
	named := ann.seal(t, ann.post(t, "profile", "x")).Head.Signed
	gone := ann.seal(t, Draft{Author: ann.Chain, Prev: first, Time: testTime()}).Head.Signed
	many := make([][]byte, MaxRecipients+1)
	for i := range many {
		many[i] = Address{byte(i + 1)}.Bytes()
	}
	type edit = func(w *wirev1.Head, b *wirev1.Binding)
	for name, c := range map[string]struct {
		from *wirev1.Signed
		edit edit
		want Code
	}{
		"no author":                {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.From = nil }, Invalid},
		"author of zeros":          {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.From = make([]byte, AddressSize) }, Invalid},
		"author of version 1":      {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.From[0] = 1 }, Invalid},
		"no card":                  {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.CardId = nil }, Invalid},
		"no mid":                   {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Mid = nil }, Invalid},
		"mid of zeros":             {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Mid = make([]byte, 16) }, Invalid},
		"version 0":                {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Version = 0 }, Invalid},
		"version 1001":             {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Version, b.Prev = 1001, make([]byte, 32) }, Invalid},
		"prev in version 1":        {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Prev = make([]byte, 32) }, Invalid},
		"version 2 without prev":   {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Version = 2 }, Invalid},
		"65 recipients":            {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.To = many }, Invalid},
		"a recipient of no form":   {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.To[0] = b.To[0][:25] }, Invalid},
		"a recipient twice":        {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.To = append(b.To, b.To[0]) }, Invalid},
		"no kind":                  {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Kind = 0 }, Invalid},
		"unknown kind":             {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Kind = 3 }, Invalid},
		"no audience":              {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Audience = 0 }, Invalid},
		"no contract":              {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Contract = 0 }, Invalid},
		"unknown contract":         {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Contract = 4 }, Invalid},
		"expires, not ephemeral":   {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Expires = 1 }, Invalid},
		"ephemeral, no expiry":     {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Contract = 3 }, Invalid},
		"time before 1970":         {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Time = -1 }, Invalid},
		"expires after 9999":       {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Contract, b.Expires = 3, maxMillis+1 }, Invalid},
		"private, to nobody":       {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.To = nil }, Invalid},
		"private with a name":      {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Name = "x" }, Invalid},
		"private in the clear":     {private, func(w *wirev1.Head, b *wirev1.Binding) { b.Suite, w.Commit = 0, nil }, Invalid},
		"unknown suite":            {private, func(_ *wirev1.Head, b *wirev1.Binding) { b.Suite = 2 }, Unsupported},
		"no commitment":            {private, func(w *wirev1.Head, _ *wirev1.Binding) { w.Commit = nil }, Invalid},
		"no payload hash":          {private, func(w *wirev1.Head, _ *wirev1.Binding) { w.PayloadHash = nil }, Invalid},
		"payload too long":         {private, func(w *wirev1.Head, _ *wirev1.Binding) { w.PayloadLen = MaxPayload + 1 }, TooLarge},
		"payload of 2^64-1":        {private, func(w *wirev1.Head, _ *wirev1.Binding) { w.PayloadLen = 1<<64 - 1 }, TooLarge},
		"public with recipients":   {public, func(_ *wirev1.Head, b *wirev1.Binding) { b.To = [][]byte{bob.Address().Bytes()} }, Invalid},
		"public with a suite":      {public, func(_ *wirev1.Head, b *wirev1.Binding) { b.Suite = 1 }, Invalid},
		"public with a commitment": {public, func(w *wirev1.Head, _ *wirev1.Binding) { w.Commit = make([]byte, 32) }, Invalid},
		"name without its mid":     {named, func(_ *wirev1.Head, b *wirev1.Binding) { b.Mid[0] ^= 1 }, Invalid},
		"name of another mid":      {named, func(_ *wirev1.Head, b *wirev1.Binding) { b.Name = "profil" }, Invalid},
		"name of no form":          {named, func(_ *wirev1.Head, b *wirev1.Binding) { b.Name = "../x" }, Invalid},
		"tombstone as version 1":   {gone, func(_ *wirev1.Head, b *wirev1.Binding) { b.Version, b.Prev = 1, nil }, Invalid},
		"tombstone with a hash":    {gone, func(w *wirev1.Head, _ *wirev1.Binding) { w.PayloadHash = make([]byte, 32) }, Invalid},
		"tombstone with a length":  {gone, func(w *wirev1.Head, _ *wirev1.Binding) { w.PayloadLen = 1 }, Invalid},
		"tombstone with a commit":  {gone, func(w *wirev1.Head, _ *wirev1.Binding) { w.Commit = make([]byte, 32) }, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := rawHead(t, c.from)
			c.edit(w, b)
			w.Binding = must(proto.Marshal(b))(t)
			s := must(sign(kindHead, w, ann.Signer))(t)
			_, err := OpenHead(crypto.Single{}, ann.Chain, s)
			refused(t, err, c.want)
			vec(t, "heads/open_head", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, s)}, c.want)
		})
	}
	w, _ := rawHead(t, private)
	w.Binding = []byte{0xff}
	_, err := ParseHead(must(sign(kindHead, w, ann.Signer))(t))
	refused(t, err, Invalid)
	w.Binding = nil
	_, err = ParseHead(must(sign(kindHead, w, ann.Signer))(t))
	refused(t, err, Invalid)
}

// What a head does not know it keeps: in its own body and in the binding that
// the encryption is bound to.
func TestHeadKeepsUnknownFields(t *testing.T) {
	ann := user(t, "ann")
	w, b := rawHead(t, ann.seal(t, ann.post(t, "", "x")).Head.Signed)
	b.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 3, 'n', 'e', 'w'})
	w.Binding = must(proto.Marshal(b))(t)
	w.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 3, 'o', 'l', 'd'})
	s := must(sign(kindHead, w, ann.Signer))(t)
	h := must(OpenHead(crypto.Single{}, ann.Chain, s))(t)
	if h.context() != crypto.Hash("ctx", w.Binding) || !proto.Equal(h.Signed, s) {
		t.Error("bytes were lost")
	}
}

func TestClaim(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	h := ann.seal(t, ann.letter(t, "x", bob)).Head
	c := must(ParseHead(h.Signed))(t)
	if c.ID() != h.ID || c.From() != h.From || c.MID() != h.MID || c.Version() != 1 || !c.Addressed(bob.Address()) || c.Addressed(ann.Address()) {
		t.Errorf("the claim differs from the head: %+v", c)
	}
	forged := proto.CloneOf(h.Signed)
	forged.Signature[0] ^= 1
	c = must(ParseHead(forged))(t)
	_, err := c.Verify(crypto.Single{}, ann.Chain)
	refused(t, err, BadSignature)
	_, err = c.VerifyKept(crypto.Single{}, ann.Chain)
	refused(t, err, BadSignature)
	if c.ID() != h.ID {
		t.Error("the id covers the signature")
	}
}

// succession is pairs of heads that may not follow each other.
func TestCheckNextRefusals(t *testing.T) {
	ann, bob, carol := user(t, "ann"), user(t, "bob"), user(t, "carol")
	one := ann.seal(t, ann.letter(t, "one", bob, carol)).Head
	d := ann.letter(t, "two", bob, carol)
	d.Prev = one
	two := ann.seal(t, d).Head
	named := ann.seal(t, ann.post(t, "n", "x")).Head
	for name, c := range map[string]struct {
		prev *Head
		edit func(b *wirev1.Binding)
		want Code
	}{
		"another mid":       {one, func(b *wirev1.Binding) { b.Mid[3] ^= 1 }, Invalid},
		"a version skipped": {one, func(b *wirev1.Binding) { b.Version = 3 }, Conflict},
		"another prev":      {one, func(b *wirev1.Binding) { b.Prev[0] ^= 1 }, Conflict},
		"after itself":      {two, func(*wirev1.Binding) {}, Conflict},
		"fewer readers":     {one, func(b *wirev1.Binding) { b.To = b.To[:1] }, Invalid},
		"other order":       {one, func(b *wirev1.Binding) { b.To[0], b.To[1] = b.To[1], b.To[0] }, Invalid},
		"more readers":      {one, func(b *wirev1.Binding) { b.To = append(b.To, ann.Address().Bytes()) }, Invalid},
		"other contract":    {one, func(b *wirev1.Binding) { b.Contract = 1 }, Invalid},
		"an expiry":         {one, func(b *wirev1.Binding) { b.Contract, b.Expires = 3, 1 }, Invalid},
		"another message":   {named, func(*wirev1.Binding) {}, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := rawHead(t, two.Signed)
			c.edit(b)
			w.Binding = must(proto.Marshal(b))(t)
			next := must(OpenHead(crypto.Single{}, ann.Chain, must(sign(kindHead, w, ann.Signer))(t)))(t)
			refused(t, c.prev.CheckNext(next), c.want)
			vec(t, "succession/check_next", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, c.prev.Signed), Next: bytesOf(t, next.Signed)}, c.want)
		})
	}
	if err := one.CheckNext(two); err != nil {
		t.Error(err)
	}
	w, b := rawHead(t, two.Signed)
	b.Audience, b.To, b.Suite, w.Commit = 1, nil, 0, nil
	w.Binding = must(proto.Marshal(b))(t)
	public := must(OpenHead(crypto.Single{}, ann.Chain, must(sign(kindHead, w, ann.Signer))(t)))(t)
	refused(t, one.CheckNext(public), Invalid)
}

func TestTermsWords(t *testing.T) {
	for _, terms := range []Terms{Final, Revisable, Ephemeral} {
		if got, err := ParseTerms(terms.String()); err != nil || got != terms {
			t.Errorf("%v became %v, %v", terms, got, err)
		}
	}
	if Terms(9).String() != "unknown" {
		t.Error("a contract of number 9")
	}
	_, err := ParseTerms("unknown")
	refused(t, err, Invalid)
}

// Heads that are checked together get the verdicts that each would get alone,
// and a key that is no good is refused although ParseHead does not look at it.
func TestVerifyHeads(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	good := ann.seal(t, ann.post(t, "profile", "I am Ann")).Head.Signed
	with := func(change func(s *wirev1.Signed)) *wirev1.Signed {
		s := proto.CloneOf(good)
		change(s)
		return s
	}
	identity := append([]byte{1, 1}, make([]byte, 31)...)
	off := append([]byte{1, 2}, make([]byte, 31)...)
	cases := []struct {
		name  string
		head  *wirev1.Signed
		chain *Chain
		want  Code
	}{
		{"good", good, ann.Chain, 0},
		{"another signature", with(func(s *wirev1.Signed) { s.Signature[0] ^= 1 }), ann.Chain, BadSignature},
		{"good again", good, ann.Chain, 0},
		{"another author", good, bob.Chain, Invalid},
		{"a stranger's key", with(func(s *wirev1.Signed) { s.Key = bob.Signer.Public().Bytes() }), ann.Chain, BadSignature},
		{"a key of small order", with(func(s *wirev1.Signed) { s.Key = identity }), ann.Chain, Invalid},
		{"a key that is no point", with(func(s *wirev1.Signed) { s.Key = off }), ann.Chain, Invalid},
	}
	var claims []HeadClaim
	var authors []*Chain
	for _, c := range cases {
		claims, authors = append(claims, must(ParseHead(c.head))(t)), append(authors, c.chain)
	}
	for _, v := range []crypto.Verifier{crypto.Single{}, crypto.NewVerifier()} {
		heads, errs := VerifyHeads(v, claims, authors)
		for n, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				alone, err := claims[n].Verify(v, c.chain)
				if (heads[n] == nil) != (c.want != 0) || (alone == nil) != (c.want != 0) {
					t.Errorf("together %v, alone %v", heads[n], alone)
				}
				if c.want != 0 || err != nil || errs[n] != nil {
					refused(t, err, c.want)
					refused(t, errs[n], c.want)
				}
			})
		}
	}
}
