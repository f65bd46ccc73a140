package message

import (
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Draft is one version of a message before it is sealed and signed.
type Draft struct {
	// Author's chain, up to date.
	Author *Chain
	// Readers are the chains of the recipients, of a later version in the order
	// of Prev.To; none for a public message and for a recall.
	Readers []*Chain
	// Prev is the version before; nil for the first.
	Prev *Head
	// MID of a first version, but for a named message.
	MID      MID
	Time     time.Time
	Audience Audience
	Terms    Terms
	Expires  time.Time
	Name     string
	// Content is nil in a recall.
	Content *Content
}

// Sealed is one version, ready to be submitted.
type Sealed struct {
	Head *Head
	// Slots: one for each recipient and one for the author.
	Slots   []*wirev1.Slot
	Payload []byte
	// Classical is set where some slot is sealed to a nacl box: the message is
	// then not post-quantum, whatever the other slots are.
	Classical bool
}

// Seal encrypts and signs a draft. A private message is always encrypted, to
// the newest card of each reader, with a fresh content key. Of a later version
// audience, recipients, contract, expiry and name are taken from Prev. Errors:
// Invalid, TooLarge, Contract, Recalled, Denied (a reader's identity is
// closed), Unsupported (no box of a known kind).
func Seal(d Draft, key crypto.SigningKey, rand io.Reader) (*Sealed, error) {
	b, err := d.binding()
	if err != nil {
		return nil, err
	}
	raw, err := proto.Marshal(b)
	if err != nil {
		return nil, refuse(Invalid, "seal: %v", err)
	}
	out := &Sealed{}
	w := &wirev1.Head{Binding: raw}
	if d.Content != nil {
		if err := d.sealPayload(w, out, rand); err != nil {
			return nil, err
		}
	}
	s, err := sign(kindHead, w, key)
	if err != nil {
		return nil, err
	}
	if out.Head, err = OpenHead(crypto.Single{}, d.Author, s); err != nil {
		return nil, err
	}
	if d.Prev != nil {
		if err := d.Prev.CheckNext(out.Head); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// binding lays out who, which and on what terms.
func (d *Draft) binding() (*wirev1.Binding, error) {
	head := d.Author.Head()
	b := &wirev1.Binding{
		From: d.Author.Address().Bytes(), CardId: head.ID[:], Mid: d.MID.Bytes(), Version: 1, Time: millis(d.Time),
		Kind: wirev1.Kind_KIND_CONTENT, Audience: wirev1.Audience(d.Audience), Contract: wirev1.Contract(d.Terms), Name: d.Name,
	}
	if d.Name != "" {
		b.Mid = NamedMID(d.Name).Bytes()
	}
	if !d.Expires.IsZero() {
		b.Expires = millis(d.Expires)
	}
	for _, r := range d.Readers {
		b.To = append(b.To, r.Address().Bytes())
	}
	if p := d.Prev; p != nil {
		if err := p.follow(d.Content == nil); err != nil {
			return nil, err
		}
		b.Mid, b.Version, b.Prev, b.Audience, b.Name = p.MID.Bytes(), p.Version+1, p.ID[:], wirev1.Audience(p.Audience), p.Name
		b.To = nil
		for _, a := range p.To {
			b.To = append(b.To, a.Bytes())
		}
		// After the tombstone of a name, a new message begins under it.
		if !p.Tombstone() {
			b.Contract, b.Expires = wirev1.Contract(p.Terms), 0
			if !p.Expires.IsZero() {
				b.Expires = millis(p.Expires)
			}
		}
	}
	if d.Content == nil {
		b.Kind = wirev1.Kind_KIND_TOMBSTONE
	}
	if Audience(b.Audience) == Private {
		b.Suite = uint32(crypto.SuiteChaCha)
	}
	return b, nil
}

// sealPayload fills in payload, hash, commitment and slots.
func (d *Draft) sealPayload(w *wirev1.Head, out *Sealed, rand io.Reader) error {
	plain, err := MarshalContent(d.Content)
	if err != nil {
		return err
	}
	var b wirev1.Binding
	if err := proto.Unmarshal(w.Binding, &b); err != nil {
		return refuse(Internal, "seal: %v", err)
	}
	out.Payload = plain
	if Audience(b.Audience) == Private {
		if err := d.checkReaders(&b); err != nil {
			return err
		}
		cek, err := crypto.NewContentKey(rand)
		if err != nil {
			return refuse(Internal, "seal: %v", err)
		}
		ctx := crypto.Hash("ctx", w.Binding)
		pk, commit := cek.Derive(ctx)
		w.Commit = commit[:]
		if out.Payload, err = pk.Seal(crypto.SuiteChaCha, crypto.Pad(plain)); err != nil {
			return refuse(Internal, "seal: %v", err)
		}
		if err := d.sealSlots(ctx, cek, out, rand); err != nil {
			return err
		}
	}
	if len(out.Payload) > MaxPayload {
		return refuse(TooLarge, "seal: payload of %d bytes, at most %d; put large parts into attachments", len(out.Payload), MaxPayload)
	}
	hash := crypto.Sum(out.Payload)
	w.PayloadHash, w.PayloadLen = hash[:], uint64(len(out.Payload))
	return nil
}

// checkReaders refuses readers who are not the recipients: the content key
// goes to nobody else.
func (d *Draft) checkReaders(b *wirev1.Binding) error {
	if len(d.Readers) != len(b.To) || len(b.To) > MaxRecipients {
		return refuse(Invalid, "seal: %d readers for %d recipients", len(d.Readers), len(b.To))
	}
	for i, r := range d.Readers {
		if a := r.Address(); !slices.Equal(a.Bytes(), b.To[i]) {
			return refuse(Invalid, "seal: reader %d is not recipient %d of the version before", i+1, i+1)
		}
	}
	return nil
}

// sealSlots seals the content key once for each recipient and once for the
// author, to the newest card of each.
func (d *Draft) sealSlots(ctx [32]byte, cek crypto.ContentKey, out *Sealed, rand io.Reader) error {
	readers := slices.Clone(d.Readers)
	if !slices.ContainsFunc(readers, func(c *Chain) bool { return c.Address() == d.Author.Address() }) {
		readers = append(readers, d.Author)
	}
	for _, r := range readers {
		slot, err := sealSlot(ctx, cek, r, rand)
		if err != nil {
			return err
		}
		box, _ := r.Head().Box()
		out.Classical = out.Classical || box.Kind() == crypto.BoxNaCl
		out.Slots = append(out.Slots, slot)
	}
	return nil
}

func sealSlot(ctx [32]byte, cek crypto.ContentKey, reader *Chain, rand io.Reader) (*wirev1.Slot, error) {
	if reader.Head().Closed {
		return nil, refuse(Denied, "seal: %s is closed", reader.Address())
	}
	box, ok := reader.Head().Box()
	if !ok {
		return nil, refuse(Unsupported, "seal: %s has no box of a known kind", reader.Address())
	}
	sealed, err := box.Seal(rand, ctx[:], cek.Bytes())
	if err != nil {
		return nil, refuse(Internal, "seal: %v", err)
	}
	id := box.ID()
	return &wirev1.Slot{Address: reader.Address().Bytes(), Box: id[:], Sealed: sealed}, nil
}

// CheckSlots refuses, with Invalid, slots that do not fit the head: exactly one
// for each recipient and one for the author of a private content version, none
// of anything else. A server checks this before it keeps a submission; that
// the slots open can only be seen by their readers.
func (h *Head) CheckSlots(slots []*wirev1.Slot) error {
	want := 0
	if h.Audience == Private && h.Kind == KindContent {
		want = len(h.To)
		if !h.Addressed(h.From) {
			want++
		}
	}
	if len(slots) != want {
		return refuse(Invalid, "slots: %d, not %d", len(slots), want)
	}
	seen := make(map[Address]bool)
	for _, s := range slots {
		a, err := AddressFromBytes(s.GetAddress())
		if err != nil {
			return err
		}
		if seen[a] || !h.Reader(a) {
			return refuse(Invalid, "slots: %s twice or not among the readers", a)
		}
		seen[a] = true
		if err := CheckSlot(s); err != nil {
			return err
		}
	}
	return nil
}

// CheckSlot bounds one slot.
func CheckSlot(s *wirev1.Slot) error {
	if len(s.GetBox()) != 16 || len(s.GetSealed()) == 0 || len(s.GetSealed()) > MaxSlot {
		return refuse(Invalid, "slot: box id of %d bytes, %d sealed", len(s.GetBox()), len(s.GetSealed()))
	}
	return nil
}
