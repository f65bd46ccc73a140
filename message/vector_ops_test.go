package message

import (
	"bytes"
	"encoding/hex"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func runAddress(in inputs) (result, error) {
	a, err := ParseAddress(in.Text)
	return result{"bytes": a.Bytes()}, err
}

func runAddressBytes(in inputs) (result, error) {
	a, err := AddressFromBytes(in.Bytes)
	return result{"address": a.String()}, err
}

func runTarget(in inputs) (result, error) {
	t, err := ParseTarget(in.Text)
	if err != nil {
		return nil, err
	}
	out := result{"host": t.Host, "user_name": t.UserName, "post_name": t.PostName}
	if !t.Address.IsZero() {
		out["address"] = t.Address.String()
	}
	if !t.MID.IsZero() {
		out["mid"] = t.MID.String()
	}
	trackers := []string{}
	for _, r := range t.Trackers {
		trackers = append(trackers, r.String())
	}
	out["trackers"] = trackers
	return out, nil
}

func runReference(in inputs) (result, error) {
	r, err := ParseReference(in.Text)
	return result{"url": r.URL, "text": r.String()}, err
}

func runMID(in inputs) (result, error) {
	m, err := ParseMID(in.Text)
	return result{"mid": m.String()}, err
}

func runStatement(in inputs) (result, error) {
	s, err := frameOf(in.Statement)
	if err != nil {
		return nil, err
	}
	p, err := parse(in.Kind, s, MaxCard, &wirev1.NameRecord{})
	if err != nil {
		return nil, err
	}
	return result{"id": p.id.String()}, p.verify(crypto.Single{})
}

func runVerifyKey(in inputs) (result, error) {
	_, err := parseKey("key", in.Key)
	return result{}, err
}

func runBox(in inputs) (result, error) {
	boxes, err := parseBoxes([]*wirev1.Box{{Kind: uint32(in.Size), Key: in.Key}})
	if err != nil {
		return nil, err
	}
	if len(boxes) == 0 {
		return result{"passed_over": true}, nil
	}
	id := boxes[0].ID()
	return result{"id": hex.EncodeToString(id[:])}, nil
}

// chainResult is what a chain says.
func chainResult(c *Chain) result {
	ids := []string{}
	for _, card := range c.cards {
		ids = append(ids, card.ID.String())
	}
	return result{"address": c.Address().String(), "ids": ids, "role": c.Head().Role.String(), "closed": c.Head().Closed}
}

func runChain(in inputs) (result, error) {
	c, err := chainOf(in.Cards)
	if err != nil {
		return nil, err
	}
	return chainResult(c), nil
}

func runBranch(in inputs) (result, error) {
	known, err := chainOf(in.Cards)
	if err != nil {
		return nil, err
	}
	cards, err := framesOf(in.Other)
	if err != nil {
		return nil, err
	}
	c, err := known.Branch(crypto.Single{}, cards)
	if err != nil {
		return nil, err
	}
	return chainResult(c), nil
}

func runCompare(in inputs) (result, error) {
	held, err := chainOf(in.Cards)
	if err != nil {
		return nil, err
	}
	offered, err := chainOf(in.Other)
	if err != nil {
		return nil, err
	}
	a, b := Sighting{Chain: held}, Sighting{Chain: offered}
	for _, ms := range in.Seen {
		a.FirstSeen = append(a.FirstSeen, at(ms))
	}
	for _, ms := range in.OtherSeen {
		b.FirstSeen = append(b.FirstSeen, at(ms))
	}
	s, err := Compare(a, b)
	if err != nil {
		return nil, err
	}
	return result{"standing": [...]string{"same", "older", "newer", "wins", "loses"}[s], "disagree": Disagree(a, b)}, nil
}

func runIdentity(in inputs) (result, error) {
	var w wirev1.Identity
	if err := proto.Unmarshal(in.Identity, &w); err != nil {
		return nil, refuse(Invalid, "vector: %v", err)
	}
	var known *Chain
	var err error
	if in.Cards != nil {
		if known, err = chainOf(in.Cards); err != nil {
			return nil, err
		}
	}
	i, err := OpenIdentity(crypto.Single{}, &w, known)
	if err != nil {
		return nil, err
	}
	out := chainResult(i.Chain)
	out["pair"] = []uint64{i.Pair().Card, i.Pair().Route}
	return out, nil
}

// opened opens the cards and the statement of a vector.
func opened(in inputs) (*Chain, *wirev1.Signed, error) {
	c, err := chainOf(in.Cards)
	if err != nil {
		return nil, nil, err
	}
	s, err := frameOf(in.Statement)
	return c, s, err
}

func runRoute(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	r, err := OpenRoute(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	services, hosts := []result{}, []result{}
	for _, s := range r.Services {
		services = append(services, result{"purpose": int(s.Purpose), "server": s.Server.String()})
	}
	for _, h := range r.Hosts {
		hosts = append(hosts, result{"url": h.URL, "pinned": h.Pinned()})
	}
	return result{
		"id": r.ID.String(), "address": r.Address.String(), "pair": []uint64{r.Pair.Card, r.Pair.Route}, "time": ms(r.Time), "expires": ms(r.Expires),
		"services": services, "hosts": hosts,
	}, nil
}

func runTicket(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	t, err := ParseTicket(s)
	if err != nil {
		return nil, err
	}
	return result{"server": t.Server.String(), "user": t.User.String(), "expires": ms(t.Expires)}, t.Verify(crypto.Single{}, c, at(in.Now))
}

func runName(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	r, err := OpenName(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	return result{"name": r.Name, "address": r.Address.String(), "time": ms(r.Time)}, nil
}

// answerResult is what an answer says.
func answerResult(a *Answer) result {
	out := result{"tracker": a.Tracker.String(), "time": ms(a.Time), "found": a.Found, "stale": a.Stale, "servers": len(a.Servers)}
	if a.Subject != nil {
		out["subject"] = chainResult(a.Subject.Chain)
	}
	return out
}

func runAnswer(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	q := Query{Name: in.Name}
	if in.Address != "" {
		if q.Address, err = ParseAddress(in.Address); err != nil {
			return nil, err
		}
	}
	a, err := OpenAnswer(crypto.Single{}, c, s, q, at(in.Now))
	if err != nil {
		return nil, err
	}
	return answerResult(a), nil
}

func runSelfAnswer(in inputs) (result, error) {
	var want Address
	var err error
	if in.Address != "" {
		if want, err = ParseAddress(in.Address); err != nil {
			return nil, err
		}
	}
	s, err := frameOf(in.Statement)
	if err != nil {
		return nil, err
	}
	a, err := OpenSelfAnswer(crypto.Single{}, want, s, at(in.Now))
	if err != nil {
		return nil, err
	}
	return answerResult(a), nil
}

func runAccess(in inputs) (result, error) {
	claim, err := ParseAccess(in.Text)
	if err != nil {
		return nil, err
	}
	c, err := chainOf(in.Cards)
	if err != nil {
		return nil, err
	}
	audience, err := ParseAddress(in.Address)
	if err != nil {
		return nil, err
	}
	a, err := claim.Verify(crypto.Single{}, c, audience, at(in.Now))
	if err != nil {
		return nil, err
	}
	return result{"from": a.From.String(), "time": ms(a.Time), "expires": ms(a.Expires)}, nil
}

func runReceipt(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	r, err := OpenReceipt(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	out := result{"issuer": r.Issuer.String(), "kind": int(r.Kind), "id": r.ID.String(), "accepted_at": ms(r.AcceptedAt), "epoch": r.Epoch, "log_seq": r.LogSeq}
	if !r.For.IsZero() {
		out["for"] = r.For.String()
	}
	return out, nil
}

func runHead(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	h, err := OpenHead(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	ctx := h.context()
	return result{
		"id": h.ID.String(), "from": h.From.String(), "mid": h.MID.String(), "version": h.Version, "time": ms(h.Time), "kind": int(h.Kind), "audience": int(h.Audience),
		"to": texts(h.To), "suite": int(h.Suite), "contract": h.Terms.String(), "expires": ms(h.Expires), "name": h.Name,
		"payload_hash": h.PayloadHash.String(), "payload_len": h.PayloadLen, "context": hex.EncodeToString(ctx[:]),
	}, nil
}

func runNext(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	prev, err := OpenHead(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	s, err = frameOf(in.Next)
	if err != nil {
		return nil, err
	}
	next, err := OpenHead(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	return result{}, prev.CheckNext(next)
}

// slotsOf reads serialised slots.
func slotsOf(raw [][]byte) ([]*wirev1.Slot, error) {
	var out []*wirev1.Slot
	for _, b := range raw {
		var s wirev1.Slot
		if err := proto.Unmarshal(b, &s); err != nil {
			return nil, refuse(Invalid, "vector: %v", err)
		}
		out = append(out, &s)
	}
	return out, nil
}

func runSlots(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	h, err := OpenHead(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	slots, err := slotsOf(in.Slots)
	if err != nil {
		return nil, err
	}
	return result{}, h.CheckSlots(slots)
}

// runOpen does all that a reader does: the reader's chain is in other_cards.
func runOpen(in inputs) (result, error) {
	c, s, err := opened(in)
	if err != nil {
		return nil, err
	}
	h, err := OpenHead(crypto.Single{}, c, s)
	if err != nil {
		return nil, err
	}
	reader := &Keyring{}
	if reader.Chain, err = chainOf(in.Other); err != nil {
		return nil, err
	}
	for _, b := range in.Boxes {
		k, err := crypto.BoxKeyFromSeed(b.Kind, b.Seed)
		if err != nil {
			return nil, refuse(Invalid, "vector: %v", err)
		}
		reader.Boxes = append(reader.Boxes, k)
	}
	slots, err := slotsOf(append(in.Slots, nil))
	if err != nil {
		return nil, err
	}
	l, err := reader.Open(h, slots[0], in.Payload)
	if err != nil {
		return nil, err
	}
	out := result{"classical": l.Classical, "tombstone": h.Tombstone()}
	if l.Content != nil {
		out["content"] = contentResult(l.Content)
	}
	return out, nil
}

// keysOf derives the keys of a vector.
func keysOf(in inputs) (crypto.PayloadKey, [32]byte, error) {
	cek, err := crypto.ContentKeyFromBytes(in.Key)
	if err != nil || len(in.Context) != 32 {
		return crypto.PayloadKey{}, [32]byte{}, refuse(Invalid, "vector: %v", err)
	}
	pk, commit := cek.Derive([32]byte(in.Context))
	return pk, commit, nil
}

func runDerive(in inputs) (result, error) {
	_, commit, err := keysOf(in)
	return result{"commit": hex.EncodeToString(commit[:])}, err
}

// plainOf is the bytes of a vector, or as many as it says, counting up.
func plainOf(in inputs) []byte {
	if in.Size == 0 {
		return in.Bytes
	}
	b := make([]byte, in.Size)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func runSealPayload(in inputs) (result, error) {
	pk, _, err := keysOf(in)
	if err != nil {
		return nil, err
	}
	sealed, err := pk.Seal(crypto.SuiteChaCha, plainOf(in))
	if err != nil {
		return nil, err
	}
	sum := crypto.Sum(sealed)
	out := result{"size": len(sealed), "sha256": hex.EncodeToString(sum[:])}
	if len(sealed) <= 512 {
		out["payload"] = sealed
	}
	return out, nil
}

func runOpenPayload(in inputs) (result, error) {
	pk, _, err := keysOf(in)
	if err != nil {
		return nil, err
	}
	plain, err := pk.Open(crypto.SuiteChaCha, in.Payload)
	if err != nil {
		return nil, refuse(BadSignature, "vector: %v", err)
	}
	streamed, err := io.ReadAll(pk.OpenReader(bytes.NewReader(in.Payload)))
	if err != nil || !bytes.Equal(streamed, plain) {
		return nil, refuse(Internal, "vector: a stream opens to something else")
	}
	return result{"bytes": plain}, nil
}

func runUnpad(in inputs) (result, error) {
	b, err := crypto.Unpad(in.Bytes)
	if err != nil {
		return nil, refuse(Invalid, "vector: %v", err)
	}
	return result{"bytes": b}, nil
}

func runBlob(in inputs) (result, error) {
	id, size, err := crypto.BlobID(bytes.NewReader(plainOf(in)))
	return result{"id": hex.EncodeToString(id[:]), "size": size}, err
}

// contentResult is what a content says.
func contentResult(c *Content) result {
	blob := func(a Attachment) result {
		return result{"name": a.Name, "media_type": a.MediaType, "size": a.Size, "blob": a.Blob.String(), "key": a.Key}
	}
	components, attachments := []result{}, []result{}
	for _, p := range c.Components {
		one := result{"type": p.Type, "data": p.Data}
		if p.Blob != nil {
			one["blob"] = blob(*p.Blob)
		}
		components = append(components, one)
	}
	for _, a := range c.Attachments {
		attachments = append(attachments, blob(a))
	}
	return result{"components": components, "attachments": attachments}
}

func runContent(in inputs) (result, error) {
	c, err := ParseContent(in.Bytes)
	if err != nil {
		return nil, err
	}
	return contentResult(c), nil
}

// An operation that does not exist, and inputs that are no statements.
func TestVectorsThatMakeNoSense(t *testing.T) {
	if _, err := run("nothing", inputs{}); CodeOf(err) != Unsupported {
		t.Error(err)
	}
	for _, op := range []string{"open_chain", "open_route", "open_head", "statement"} {
		if _, err := run(op, inputs{Cards: [][]byte{{0xff}}, Statement: []byte{0xff}}); CodeOf(err) != Invalid {
			t.Errorf("%s: %v", op, err)
		}
	}
}
