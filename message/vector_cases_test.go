package message

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// given is what a reader has of one version, for the vectors.
func given(t testing.TB, author, reader *person, p parts) inputs {
	t.Helper()
	in := inputs{Cards: cardsOf(t, author.Chain), Statement: bytesOf(t, p.head), Other: cardsOf(t, reader.Chain), Payload: p.payload}
	if p.slot != nil {
		in.Slots = [][]byte{bytesOf(t, p.slot)}
	}
	for _, b := range reader.Boxes {
		in.Boxes = append(in.Boxes, boxSeed{b.Kind(), b.Seed()})
	}
	return in
}

// Sealed messages, sound and tampered with, private keys included.
func TestSealedVectors(t *testing.T) {
	ann, bob, carol := user(t, "ann"), user(t, "bob"), classical(t, "carol")
	content := text("Grüße, \U0001F40C")
	content.Set(TypeSubject, []byte("Subject"))
	content.Attachments = []Attachment{file("a.txt")}
	d := ann.letter(t, "x", bob, carol)
	d.Content = content
	s := ann.seal(t, d)
	part := func(p *person) parts { return parts{s.Head.Signed, s.slotOf(p.Address()), s.Payload} }
	for name, p := range map[string]*person{"hybrid": bob, "nacl": carol, "by its author": ann} {
		vec(t, "sealed/open", name, given(t, ann, p, part(p)), 0)
	}
	post := ann.seal(t, ann.post(t, "profile", "I am Ann"))
	vec(t, "sealed/open", "public", given(t, ann, bob, parts{head: post.Head.Signed, payload: post.Payload}), 0)
	gone := ann.seal(t, Draft{Author: ann.Chain, Prev: s.Head, Time: testTime()})
	vec(t, "sealed/open", "recalled", given(t, ann, bob, parts{head: gone.Head.Signed}), 0)
	vec(t, "sealed/open", "recalled, of no reader", given(t, ann, user(t, "eve"), parts{head: gone.Head.Signed}), Invalid)
	big := ann.letter(t, "big", bob)
	big.Content = text(string(bytes.Repeat([]byte("0123456789abcdef"), 6000)))
	sealedBig := ann.seal(t, big)
	vec(t, "sealed/open", "two chunks", given(t, ann, bob, parts{sealedBig.Head.Signed, sealedBig.slotOf(bob.Address()), sealedBig.Payload}), 0)

	other := must(Seal(ann.letter(t, "other", bob, carol), ann.Signer, from("another")))(t)
	for name, c := range map[string]struct {
		edit func(p *parts)
		want Code
	}{
		"no slot":                    {func(p *parts) { p.slot = nil }, Invalid},
		"somebody else's slot":       {func(p *parts) { p.slot = s.slotOf(carol.Address()) }, Invalid},
		"the author's slot":          {func(p *parts) { p.slot = s.slotOf(ann.Address()) }, Invalid},
		"the slot of another":        {func(p *parts) { p.slot = other.slotOf(bob.Address()) }, BadSignature},
		"the head of another":        {func(p *parts) { p.head = other.Head.Signed; p.payload = other.Payload }, BadSignature},
		"a box of nobody":            {func(p *parts) { p.slot.Box[0] ^= 1 }, NotFound},
		"a short box id":             {func(p *parts) { p.slot.Box = p.slot.Box[1:] }, Invalid},
		"the slot altered":           {func(p *parts) { p.slot.Sealed[40] ^= 1 }, BadSignature},
		"the slot's end altered":     {func(p *parts) { p.slot.Sealed[len(p.slot.Sealed)-1] ^= 1 }, BadSignature},
		"the slot cut":               {func(p *parts) { p.slot.Sealed = p.slot.Sealed[:47] }, BadSignature},
		"the slot empty":             {func(p *parts) { p.slot.Sealed = nil }, Invalid},
		"the slot too long":          {func(p *parts) { p.slot.Sealed = make([]byte, MaxSlot+1) }, Invalid},
		"the payload altered":        {func(p *parts) { p.payload[0] ^= 1 }, BadSignature},
		"the payload's tag altered":  {func(p *parts) { p.payload[len(p.payload)-1] ^= 0x80 }, BadSignature},
		"the payload cut":            {func(p *parts) { p.payload = p.payload[1:] }, Invalid},
		"the payload empty":          {func(p *parts) { p.payload = nil }, Invalid},
		"the payload longer":         {func(p *parts) { p.payload = append(p.payload, 0) }, Invalid},
		"the head's signature":       {func(p *parts) { p.head.Signature[5] ^= 1 }, BadSignature},
		"the head's signature cut":   {func(p *parts) { p.head.Signature = p.head.Signature[1:] }, Invalid},
		"the head's body altered":    {func(p *parts) { p.head.Body[len(p.head.Body)-1] ^= 1 }, BadSignature},
		"the head by another device": {func(p *parts) { p.head = signedBy(bob.Signer, p.head) }, BadSignature},
		"the head by a rotation key": {func(p *parts) { p.head = signedBy(ann.paper, p.head) }, BadSignature},
	} {
		p := part(bob)
		p = parts{proto.CloneOf(p.head), proto.CloneOf(p.slot), bytes.Clone(p.payload)}
		c.edit(&p)
		vec(t, "sealed/open", name, given(t, ann, bob, p), c.want)
	}
	noKeys := given(t, ann, bob, part(bob))
	noKeys.Boxes = nil
	vec(t, "sealed/open", "without the keys", noKeys, NotFound)
}

// signedBy is a head's body under another key.
func signedBy(k crypto.SigningKey, s *wirev1.Signed) *wirev1.Signed {
	return &wirev1.Signed{Body: s.Body, Key: k.Public().Bytes(), Signature: k.Sign(kindHead, s.Body)}
}

// Heads that are good, and versions that may follow each other.
func TestGoodHeadVectors(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	head := func(name string, d Draft) *Head {
		h := ann.seal(t, d).Head
		vec(t, "heads/open_head", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, h.Signed)}, 0)
		return h
	}
	next := func(name string, a, b *Head) {
		vec(t, "succession/check_next", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, a.Signed), Next: bytesOf(t, b.Signed)}, 0)
	}
	one := head("private", ann.letter(t, "x", bob))
	recall := func(h *Head) Draft { return Draft{Author: ann.Chain, Prev: h, Time: testTime()} }
	d := ann.letter(t, "y", bob)
	d.Prev = one
	two := head("version 2", d)
	next("an edit", one, two)
	next("a recall", one, head("tombstone", recall(one)))
	next("a recall of an edit", two, head("tombstone of version 2", recall(two)))
	d = ann.letter(t, "z", bob)
	d.Terms, d.Expires = Ephemeral, testTime().Add(time.Hour)
	brief := head("ephemeral", d)
	next("a recall of an ephemeral", brief, head("ephemeral tombstone", recall(brief)))
	d = ann.post(t, "notes/one", "x")
	d.Terms = Final
	named := head("named and final", d)
	gone := head("tombstone of a name", recall(named))
	next("a recall of a final", named, gone)
	next("a name used again", gone, head("name used again", Draft{Author: ann.Chain, Prev: gone, Time: testTime(), Content: text("y"), Terms: Revisable}))
	next("a name used again, ephemeral", gone, head("name used again, ephemeral", Draft{Author: ann.Chain, Prev: gone, Time: testTime(), Content: text("y"), Terms: Ephemeral, Expires: testTime().Add(1e9)}))
	head("public without a name", ann.post(t, "", "x"))
	self := ann.letter(t, "s", ann)
	head("to oneself", self)

	// What Seal does not make: two tombstones, and an edit of what is over.
	after := func(h *Head, edit func(w *wirev1.Head, b *wirev1.Binding)) *wirev1.Signed {
		w, b := rawHead(t, h.Signed)
		b.Version, b.Prev = h.Version+1, h.ID[:]
		edit(w, b)
		w.Binding = bytesOf(t, b)
		return must(sign(kindHead, w, ann.Signer))(t)
	}
	same := func(*wirev1.Head, *wirev1.Binding) {}
	content := func(w *wirev1.Head, b *wirev1.Binding) {
		b.Kind, w.PayloadHash, w.PayloadLen, w.Commit = 1, make([]byte, 32), 1, make([]byte, 32)
	}
	tomb := ann.seal(t, recall(one)).Head
	for name, c := range map[string]struct {
		prev *Head
		next *wirev1.Signed
		want Code
	}{
		"a second tombstone":             {tomb, after(tomb, same), Recalled},
		"an edit after the recall":       {tomb, after(tomb, content), Recalled},
		"a second tombstone of a name":   {gone, after(gone, same), Recalled},
		"a second version of a final":    {named, after(named, same), Contract},
		"a version 1 after a tombstone":  {tomb, one.Signed, Conflict},
		"an older version of a sequence": {two, one.Signed, Conflict},
	} {
		vec(t, "succession/check_next", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, c.prev.Signed), Next: bytesOf(t, c.next)}, c.want)
	}
	slots := ann.seal(t, ann.letter(t, "slots", bob))
	in := inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, slots.Head.Signed)}
	for _, s := range slots.Slots {
		in.Slots = append(in.Slots, bytesOf(t, s))
	}
	vec(t, "slots/check_slots", "one for each", in, 0)
	slices.Reverse(in.Slots)
	vec(t, "slots/check_slots", "in another order", in, 0)
	vec(t, "slots/check_slots", "none for a tombstone", inputs{Cards: in.Cards, Statement: bytesOf(t, gone.Signed)}, 0)
}

// Statements under every kind, and keys of every sort.
func TestStatementAndKeyVectors(t *testing.T) {
	k := key(t, "vectors")
	kinds := []string{kindCard, kindRoute, kindTicket, kindName, kindHead, kindAccess, kindReceipt, kindAnswer}
	for i, kind := range kinds {
		s := bytesOf(t, must(sign(kind, &wirev1.NameRecord{Name: "x"}, k))(t))
		vec(t, "statements/statement", kind, inputs{Kind: kind, Statement: s}, 0)
		other := kinds[(i+1)%len(kinds)]
		vec(t, "statements/statement", kind+" taken as "+other, inputs{Kind: other, Statement: s}, BadSignature)
	}
	low := func(b ...byte) []byte { return append(append([]byte{1}, b...), make([]byte, 32-len(b))...) }
	for name, c := range map[string]struct {
		key  []byte
		want Code
	}{
		"good":                 {k.Public().Bytes(), 0},
		"none":                 {nil, Invalid},
		"without algorithm":    {k.Public().Bytes()[1:], Invalid},
		"algorithm 0":          {append([]byte{0}, k.Public().Bytes()[1:]...), Unsupported},
		"algorithm 2":          {append([]byte{2}, k.Public().Bytes()[1:]...), Unsupported},
		"the identity point":   {low(1), Invalid},
		"order 4":              {low(), Invalid},
		"not on the curve":     {low(2), Invalid},
		"order 2, p-1":         {append(append([]byte{1, 0xec}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f), Invalid},
		"identity as p+1":      {append(append([]byte{1, 0xee}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f), Invalid},
		"not canonical, y+p":   {append(append([]byte{1, 0xf0}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f), Invalid},
		"identity, sign set":   {append(append([]byte{1, 1}, make([]byte, 30)...), 0x80), Invalid},
		"one byte too many":    {append(k.Public().Bytes(), 0), Invalid},
		"all ones":             {append([]byte{1}, bytes.Repeat([]byte{0xff}, 32)...), Invalid},
		"a device of a vector": {key(t, "device").Public().Bytes(), 0},
	} {
		vec(t, "keys/verify_key", "verify key: "+name, inputs{Key: c.key}, c.want)
	}
	ann := user(t, "ann")
	hybrid, nacl := ann.Boxes[0].Public().Bytes(), ann.Boxes[1].Public().Bytes()
	lowHybrid := append(bytes.Clone(hybrid[:len(hybrid)-32]), make([]byte, 32)...)
	for name, c := range map[string]struct {
		kind int
		key  []byte
		want Code
	}{
		"nacl": {1, nacl, 0}, "hybrid": {2, hybrid, 0}, "of a newer kind": {3, []byte("newer"), 0}, "nacl of zeros": {1, make([]byte, 32), Invalid}, "nacl of one": {1, low(1)[1:], Invalid},
		"nacl too short": {1, nacl[1:], Invalid}, "hybrid with a low x25519": {2, lowHybrid, Invalid}, "hybrid too short": {2, hybrid[1:], Invalid}, "hybrid not reduced": {2, bytes.Repeat([]byte{0xff}, len(hybrid)), Invalid},
	} {
		vec(t, "keys/box", "box: "+name, inputs{Size: c.kind, Key: c.key}, c.want)
	}
}

// Payload streams, padding and blobs.
func TestPayloadVectors(t *testing.T) {
	cek, ctx := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	vec(t, "payloads/derive", "commitment", inputs{Key: cek, Context: ctx}, 0)
	vec(t, "payloads/derive", "commitment in another context", inputs{Key: cek, Context: cek}, 0)
	for _, n := range []int{1, 16, 255, 256, 300, crypto.ChunkSize - 1, crypto.ChunkSize, crypto.ChunkSize + 1, 2 * crypto.ChunkSize, 3*crypto.ChunkSize + 7} {
		vec(t, "payloads/seal_payload", fmt.Sprintf("seal %d bytes", n), inputs{Key: cek, Context: ctx, Size: n}, 0)
	}
	vec(t, "payloads/seal_payload", "seal nothing", inputs{Key: cek, Context: ctx}, 0)
	pk, _, err := keysOf(inputs{Key: cek, Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	sealed := must(pk.Seal(crypto.SuiteChaCha, []byte("payload")))(t)
	flipped := bytes.Clone(sealed)
	flipped[2] ^= 1
	empty := must(pk.Seal(crypto.SuiteChaCha, nil))(t)
	for name, c := range map[string]struct {
		payload []byte
		want    Code
	}{
		"sound": {sealed, 0}, "empty text": {empty, 0}, "altered": {flipped, BadSignature}, "cut": {sealed[:len(sealed)-1], BadSignature}, "nothing": {nil, BadSignature},
		"longer": {append(bytes.Clone(sealed), 0), BadSignature}, "a tag alone of another": {sealed[:16], BadSignature}, "twice": {append(bytes.Clone(sealed), sealed...), BadSignature},
	} {
		vec(t, "payloads/open_payload", "open "+name, inputs{Key: cek, Context: ctx, Payload: c.payload}, c.want)
	}
	vec(t, "payloads/open_payload", "open under another context", inputs{Key: cek, Context: cek, Payload: sealed}, BadSignature)
	for _, n := range []int{0, 1, 251, 252, 253, 300, 508, 1000, 1020, 1021} {
		b := bytes.Repeat([]byte{'x'}, n)
		vec(t, "payloads/pad", fmt.Sprintf("pad %d", n), inputs{Bytes: b}, 0)
		vec(t, "payloads/unpad", fmt.Sprintf("unpad %d", n), inputs{Bytes: crypto.Pad(b)}, 0)
	}
	good := crypto.Pad([]byte("body"))
	dirty := append(bytes.Clone(good[:len(good)-1]), 1)
	longer := bytes.Clone(good)
	longer[0] = 0xff
	for name, b := range map[string][]byte{
		"nothing": nil, "no length": {0, 0, 0}, "not zero": dirty, "longer than it is": longer, "too short": good[:255], "too long": append(bytes.Clone(good), 0), "not padded": {0, 0, 0, 1, 'x'},
	} {
		vec(t, "payloads/unpad", "unpad "+name, inputs{Bytes: b}, Invalid)
	}
	for _, n := range []int{1, 1000, crypto.PieceSize - 1, crypto.PieceSize, crypto.PieceSize + 1, 3 * crypto.PieceSize} {
		vec(t, "blobs/blob_id", fmt.Sprintf("%d bytes", n), inputs{Size: n}, 0)
	}
	vec(t, "blobs/blob_id", "no bytes", inputs{}, 0)
	vec(t, "blobs/blob_id", "text", inputs{Bytes: []byte("sealed bytes")}, 0)
}

// Sound chains, routes and answers of every sort.
func TestGoodIdentityVectors(t *testing.T) {
	ann := newHosted(t, "ann")
	d := newDesk(t)
	for name, c := range map[string]*Chain{
		"user": ann.Chain, "server": ann.server.Chain, "tracker": d.Chain, "five cards": line(t, ann.person, 5), "nacl only": classical(t, "carol").Chain,
	} {
		vec(t, "chains/open_chain", name, inputs{Cards: cardsOf(t, c)}, 0)
	}
	end := ann.draft()
	end.Closed = true
	vec(t, "chains/open_chain", "closed", inputs{Cards: cardsOf(t, after(t, ann.Chain, end, ann.paper))}, 0)
	vec(t, "routes/open_route", "of a user", inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, ann.route.Signed)}, 0)
	vec(t, "routes/open_route", "of a server", inputs{Cards: cardsOf(t, ann.server.Chain), Statement: bytesOf(t, ann.serverRoute.Signed)}, 0)
	later := ann.draft()
	vec(t, "routes/open_route", "naming an older card", inputs{Cards: cardsOf(t, after(t, ann.Chain, later, ann.paper)), Statement: bytesOf(t, ann.route.Signed)}, 0)
	high := must(SignRoute(Route{Pair: Pair{Route: 1<<64 - 1}, Time: testTime(), Expires: testTime().Add(day)}, line(t, ann.person, 3), ann.Signer))(t)
	vec(t, "routes/open_route", "the highest number", inputs{Cards: cardsOf(t, line(t, ann.person, 3)), Statement: bytesOf(t, high.Signed)}, 0)
	nobody := Query{Address: user(t, "nobody").Address()}
	s := must(SignAnswer(Answer{Tracker: d.Address(), Time: testTime(), Query: nobody}, d.Signer))(t)
	vec(t, "answers/open_answer", "not found", d.asked(t, s, nobody, 0), 0)
	stale := d.about(t, Query{Address: d.ann.Address()})
	stale.Stale = true
	s = must(SignAnswer(stale, d.Signer))(t)
	vec(t, "answers/open_answer", "stale", d.asked(t, s, stale.Query, 0), 0)
}
