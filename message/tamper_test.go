package message

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// parts are what travels of one version for one reader.
type parts struct {
	head    *wirev1.Signed
	slot    *wirev1.Slot
	payload []byte
}

// openParts is all that a reader does, from the bytes on.
func openParts(author *Chain, reader *person, p parts) (*Letter, error) {
	h, err := OpenHead(crypto.Single{}, author, p.head)
	if err != nil {
		return nil, err
	}
	return reader.Open(h, p.slot, p.payload)
}

// flips calls try with b changed in every byte, one after the other.
func flips(b []byte, try func(i int)) {
	for i := range b {
		for _, mask := range []byte{1, 0x80, 0xff} {
			b[i] ^= mask
			try(i)
			b[i] ^= mask
		}
	}
}

// Every byte of what travels: changed, it never opens as something else. The
// frame of a protobuf message may change without its meaning (the slot is not
// signed), so what still opens must be word for word what was sealed.
func TestEveryByteFlipped(t *testing.T) {
	for name, reader := range map[string]*person{"hybrid": user(t, "bob"), "nacl": classical(t, "carol")} {
		t.Run(name, func(t *testing.T) {
			ann := user(t, "ann")
			s := ann.seal(t, ann.letter(t, "the one true text", reader))
			good := parts{s.Head.Signed, s.slotOf(reader.Address()), s.Payload}
			try := func(what string, p parts) func(int) {
				return func(i int) {
					l, err := openParts(ann.Chain, reader, p)
					if err == nil {
						t.Fatalf("%s, byte %d changed: opens to %q", what, i, l.Content.Component0())
					}
				}
			}
			head, slot := proto.CloneOf(good.head), proto.CloneOf(good.slot)
			p := parts{head, slot, append([]byte{}, good.payload...)}
			if _, err := openParts(ann.Chain, reader, p); err != nil {
				t.Fatal(err)
			}
			flips(head.Body, try("head", p))
			flips(head.Key, try("key", p))
			flips(head.Signature, try("signature", p))
			flips(slot.Address, try("slot's address", p))
			flips(slot.Box, try("slot's box", p))
			flips(slot.Sealed, try("slot's seal", p))
			flips(p.payload, try("payload", p))
			for n := range p.payload {
				cut := parts{head, slot, p.payload[:n]}
				try("cut payload", cut)(n)
			}
			try("longer payload", parts{head, slot, append(p.payload, 0)})(0)
		})
	}
}

// A signature made for one kind is worth nothing for another: every statement,
// offered as every other kind with the same bytes.
func TestCrossKindSignatures(t *testing.T) {
	ann := user(t, "ann")
	kinds := []string{kindCard, kindRoute, kindTicket, kindName, kindHead, kindAccess, kindReceipt, kindAnswer}
	for _, made := range kinds {
		for _, taken := range kinds {
			s := must(sign(made, &wirev1.NameRecord{Name: "x"}, ann.Signer))(t)
			p := must(parse(taken, s, MaxCard, &wirev1.NameRecord{}))(t)
			if err := p.verify(crypto.Single{}); (err == nil) != (made == taken) {
				t.Errorf("signed as %s, taken as %s: %v", made, taken, err)
			}
			if p.id == ID(crypto.ID(made, s.Body)) != (made == taken) {
				t.Errorf("%s and %s have one id", made, taken)
			}
		}
	}
}

// A reader seals the content key of a message to somebody else and sends it on.
func TestSurreptitiousForwarding(t *testing.T) {
	ann, bob, carol := user(t, "ann"), user(t, "bob"), user(t, "carol")
	s := ann.seal(t, ann.letter(t, "for Bob alone", bob))
	ctx := s.Head.context()
	raw := must(bob.Boxes[0].Open(ctx[:], s.slotOf(bob.Address()).Sealed))(t)
	box, _ := carol.Chain.Head().Box()
	id := box.ID()
	forged := &wirev1.Slot{Address: carol.Address().Bytes(), Box: id[:], Sealed: must(box.Seal(from("x"), ctx[:], raw))(t)}

	_, err := openParts(ann.Chain, carol, parts{s.Head.Signed, forged, s.Payload})
	refused(t, err, Invalid)
	_, err = Open(s.Head, forged, carol.Boxes, s.Payload)
	refused(t, err, Invalid)
	forged.Address = bob.Address().Bytes()
	_, err = openParts(ann.Chain, carol, parts{s.Head.Signed, forged, s.Payload})
	refused(t, err, Invalid)

	// Sealed anew to a recipient it does open: slots are proved by the head's
	// commitment, not by the signature.
	box = bob.Boxes[1].Public()
	id = box.ID()
	anew := &wirev1.Slot{Address: bob.Address().Bytes(), Box: id[:], Sealed: must(box.Seal(from("x"), ctx[:], raw))(t)}
	if l, err := openParts(ann.Chain, bob, parts{s.Head.Signed, anew, s.Payload}); err != nil || !l.Classical {
		t.Errorf("a slot sealed anew: %v", err)
	}
}

// Somebody signs another's ciphertext as his own, keeping all that he can.
func TestResignedCiphertext(t *testing.T) {
	ann, bob, eve := user(t, "ann"), user(t, "bob"), user(t, "eve")
	s := ann.seal(t, ann.letter(t, "Ann's idea", bob))
	slot := s.slotOf(bob.Address())
	edit := func(f func(b *wirev1.Binding)) *wirev1.Signed {
		var w wirev1.Head
		var b wirev1.Binding
		if proto.Unmarshal(s.Head.Signed.Body, &w) != nil || proto.Unmarshal(w.Binding, &b) != nil {
			t.Fatal("not a head")
		}
		f(&b)
		w.Binding = must(proto.Marshal(&b))(t)
		return must(sign(kindHead, &w, eve.Signer))(t)
	}
	// As it stands it is Ann's, and Eve's key is none of hers.
	_, err := openParts(ann.Chain, bob, parts{edit(func(*wirev1.Binding) {}), slot, s.Payload})
	refused(t, err, BadSignature)
	// As Eve's own it does not open: the key is bound to Ann as author.
	own := edit(func(b *wirev1.Binding) {
		id := eve.Chain.Head().ID
		b.From, b.CardId = eve.Address().Bytes(), id[:]
	})
	_, err = openParts(eve.Chain, bob, parts{own, slot, s.Payload})
	refused(t, err, BadSignature)

	// The author herself cannot move a ciphertext either: another mid,
	// version, audience or reader is another key.
	for name, f := range map[string]func(b *wirev1.Binding){
		"mid":     func(b *wirev1.Binding) { b.Mid[0] ^= 1 },
		"version": func(b *wirev1.Binding) { b.Version, b.Prev = 2, make([]byte, 32) },
		"time":    func(b *wirev1.Binding) { b.Time++ },
		"readers": func(b *wirev1.Binding) { b.To = append(b.To, eve.Address().Bytes()) },
		"terms": func(b *wirev1.Binding) {
			b.Contract, b.Expires = wirev1.Contract_CONTRACT_EPHEMERAL, b.Time+1
		},
	} {
		moved := edit(f)
		moved.Key, moved.Signature = ann.Signer.Public().Bytes(), ann.Signer.Sign(kindHead, moved.Body)
		_, err := openParts(ann.Chain, bob, parts{moved, slot, s.Payload})
		if CodeOf(err) != BadSignature {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestSlotMovedBetweenMessages(t *testing.T) {
	for name, bob := range map[string]*person{"hybrid": user(t, "bob"), "nacl": classical(t, "carol")} {
		ann := user(t, "ann")
		one := ann.seal(t, ann.letter(t, "one", bob))
		d := ann.letter(t, "two", bob)
		two := must(Seal(d, ann.Signer, from("another seal")))(t)
		_, err := openParts(ann.Chain, bob, parts{one.Head.Signed, two.slotOf(bob.Address()), one.Payload})
		if CodeOf(err) != BadSignature {
			t.Errorf("%s: the slot of another message: %v", name, err)
		}
		_, err = openParts(ann.Chain, bob, parts{one.Head.Signed, one.slotOf(bob.Address()), two.Payload})
		if CodeOf(err) != Invalid && CodeOf(err) != BadSignature {
			t.Errorf("%s: the payload of another message: %v", name, err)
		}
	}
}

// One ciphertext with two content keys, one for each reader: the commitment
// fits one of them only, so nobody is shown another text.
func TestTwoKeysForOneCiphertext(t *testing.T) {
	ann, bob := user(t, "ann"), classical(t, "carol")
	s := ann.seal(t, ann.letter(t, "one text", bob))
	other := must(crypto.NewContentKey(from("other key")))(t)
	box, _ := bob.Chain.Head().Box()
	ctx := s.Head.context()
	id := box.ID()
	slot := &wirev1.Slot{Address: bob.Address().Bytes(), Box: id[:], Sealed: must(box.Seal(from("x"), ctx[:], other.Bytes()))(t)}
	_, err := openParts(ann.Chain, bob, parts{s.Head.Signed, slot, s.Payload})
	refused(t, err, BadSignature)
	slot.Sealed = must(box.Seal(from("x"), ctx[:], []byte("no key")))(t)
	_, err = openParts(ann.Chain, bob, parts{s.Head.Signed, slot, s.Payload})
	refused(t, err, Invalid)
}

// The payload opens under the key in the slot, but the head commits to another
// one: the author wrote two texts, and shows each reader one.
func TestCommitmentToAnotherKey(t *testing.T) {
	ann := user(t, "ann")
	for name, bob := range map[string]*person{"hybrid": user(t, "bob"), "nacl": classical(t, "carol")} {
		s := ann.seal(t, ann.letter(t, "one text", bob))
		var w wirev1.Head
		if err := proto.Unmarshal(s.Head.Signed.Body, &w); err != nil {
			t.Fatal(err)
		}
		for _, flip := range []byte{0, 1} {
			w.Commit[31] ^= flip
			head := must(sign(kindHead, &w, ann.Signer))(t)
			_, err := openParts(ann.Chain, bob, parts{head, s.slotOf(bob.Address()), s.Payload})
			if flip == 0 && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if flip == 1 && CodeOf(err) != BadSignature {
				t.Errorf("%s: another commitment: %v", name, err)
			}
		}
	}
}

// The author signs what no honest program seals: it is refused after the
// signature, never shown.
func TestSignedNonsense(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	content := must(MarshalContent(text("x")))(t)
	for name, x := range map[string]struct {
		plain []byte
		want  Code
	}{
		"not padded":      {content, Invalid},
		"padding not 0":   {append(crypto.Pad(content)[:255:255], 1), Invalid},
		"no content":      {crypto.Pad([]byte{0xff}), Invalid},
		"a type missing":  {crypto.Pad([]byte{0x0a, 0}), Invalid},
		"sound":           {crypto.Pad(content), 0},
		"nothing at all":  {crypto.Pad(nil), 0},
		"many components": {crypto.Pad(make2(0x0a, maxContentFields+1)), TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			d := ann.letter(t, "x", bob)
			b := must(d.binding())(t)
			w := &wirev1.Head{Binding: must(proto.Marshal(b))(t)}
			ctx := crypto.Hash("ctx", w.Binding)
			cek := must(crypto.NewContentKey(from("key")))(t)
			pk, commit := cek.Derive(ctx)
			payload := must(pk.Seal(crypto.SuiteChaCha, x.plain))(t)
			hash := crypto.Sum(payload)
			w.Commit, w.PayloadHash, w.PayloadLen = commit[:], hash[:], uint64(len(payload))
			var out Sealed
			if err := d.sealSlots(ctx, cek, &out, from("slots")); err != nil {
				t.Fatal(err)
			}
			_, err := openParts(ann.Chain, bob, parts{must(sign(kindHead, w, ann.Signer))(t), out.slotOf(bob.Address()), payload})
			if x.want != 0 || err != nil {
				refused(t, err, x.want)
			}
		})
	}

	// A ciphertext that the committed key does not open.
	d := ann.letter(t, "x", bob)
	s := ann.seal(t, d)
	var w wirev1.Head
	if err := proto.Unmarshal(s.Head.Signed.Body, &w); err != nil {
		t.Fatal(err)
	}
	s.Payload[9] ^= 1
	hash := crypto.Sum(s.Payload)
	w.PayloadHash = hash[:]
	_, err := openParts(ann.Chain, bob, parts{must(sign(kindHead, &w, ann.Signer))(t), s.slotOf(bob.Address()), s.Payload})
	refused(t, err, BadSignature)
}

// make2 is n empty fields of a tag.
func make2(tag byte, n int) []byte {
	var b []byte
	for range n {
		b = append(b, tag, 0)
	}
	return b
}

func TestOpenWithoutSlot(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	s := ann.seal(t, ann.letter(t, "x", bob))
	for name, slot := range map[string]*wirev1.Slot{"nil": nil, "empty": {}, "of nobody": {Box: make([]byte, 16), Sealed: []byte{1}}} {
		_, err := Open(s.Head, slot, bob.Boxes, s.Payload)
		if CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := ann.seal(t, Draft{Author: ann.Chain, Prev: s.Head, Time: testTime().Add(time.Second)})
	_, err := user(t, "eve").Open(gone.Head, nil, nil)
	refused(t, err, Invalid)
	if err := gone.Head.CheckPayload(nil); err != nil {
		t.Error(err)
	}
	refused(t, gone.Head.CheckPayload([]byte{1}), Invalid)
}
