package message

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// slotOf is the slot for a reader.
func (s *Sealed) slotOf(a Address) *wirev1.Slot {
	for _, slot := range s.Slots {
		if bytes.Equal(slot.Address, a.Bytes()) {
			return slot
		}
	}
	return nil
}

// classical makes an identity without a hybrid box.
func classical(t testing.TB, label string) *person {
	t.Helper()
	p := user(t, label)
	d := p.draft()
	d.Boxes = d.Boxes[1:]
	p.Chain = after(t, p.Chain, d, p.paper)
	return p
}

func TestSealAndOpen(t *testing.T) {
	ann, bob, carol, dan := user(t, "ann"), user(t, "bob"), classical(t, "carol"), user(t, "dan")
	s := ann.seal(t, ann.letter(t, "hello", bob, carol))
	if !s.Classical || len(s.Slots) != 3 || s.Head.Suite != crypto.SuiteChaCha {
		t.Errorf("classical %v, %d slots, suite %d", s.Classical, len(s.Slots), s.Head.Suite)
	}
	if err := s.Head.CheckSlots(s.Slots); err != nil {
		t.Error(err)
	}
	for name, p := range map[string]*person{"ann": ann, "bob": bob, "carol": carol} {
		l, err := p.Open(s.Head, s.slotOf(p.Address()), s.Payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if body, typ := l.Content.Body(); body != "hello" || typ != TypeMarkdown || l.Classical != (p == carol) {
			t.Errorf("%s reads %q, classical %v", name, body, l.Classical)
		}
	}
	_, err := dan.Open(s.Head, s.slotOf(bob.Address()), s.Payload)
	refused(t, err, Invalid)
	_, err = bob.Open(s.Head, s.slotOf(ann.Address()), s.Payload)
	refused(t, err, Invalid)
	_, err = Open(s.Head, s.slotOf(bob.Address()), dan.Boxes, s.Payload)
	refused(t, err, NotFound)

	toSelf := ann.seal(t, ann.letter(t, "note", ann))
	if len(toSelf.Slots) != 1 || toSelf.Classical {
		t.Errorf("to oneself: %d slots", len(toSelf.Slots))
	}
	post := ann.seal(t, ann.post(t, "", "to all"))
	l, err := Open(post.Head, nil, nil, post.Payload)
	if err != nil || len(post.Slots) != 0 || l.Content.Component0() != "to all" {
		t.Errorf("a public message: %v", err)
	}
	if l, err := dan.Open(post.Head, nil, post.Payload); err != nil || l.Head != post.Head {
		t.Errorf("a public message: %v", err)
	}
}

// Component0 is the data of the first component.
func (c *Content) Component0() string { return string(c.Components[0].Data) }

// Whatever is written to whomever comes out again, to each reader the same.
func TestSealOpenIsIdentity(t *testing.T) {
	people := []*person{user(t, "ann"), user(t, "bob"), classical(t, "carol"), user(t, "dan")}
	attachment := rapid.Custom(func(r *rapid.T) Attachment {
		return Attachment{
			Name:      AttachmentName(rapid.String().Draw(r, "name")),
			MediaType: rapid.SampledFrom([]string{"", "text/plain", "image/png"}).Draw(r, "type"),
			Size:      rapid.Int64Range(0, MaxBlob).Draw(r, "size"),
			Blob:      ID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "blob")),
			Key:       rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "key"),
		}
	})
	component := rapid.Custom(func(r *rapid.T) Component {
		c := Component{Type: rapid.StringMatching(`[a-z]{1,10}/[a-z.;=-]{1,20}`).Draw(r, "type")}
		if rapid.Bool().Draw(r, "inline") {
			c.Data = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(r, "data")
		} else {
			a := attachment.Draw(r, "blob")
			c.Blob = &a
		}
		return c
	})
	rapid.Check(t, func(r *rapid.T) {
		author := rapid.SampledFrom(people).Draw(r, "author")
		readers := rapid.SliceOfNDistinct(rapid.SampledFrom(people), 1, 4, func(p *person) Address { return p.Address() }).Draw(r, "readers")
		d := author.letter(t, "x", readers...)
		d.Content = &Content{
			Components:  rapid.SliceOfN(component, 0, 5).Draw(r, "components"),
			Attachments: rapid.SliceOfN(attachment, 0, 3).Draw(r, "attachments"),
		}
		s, err := Seal(d, author.Signer, from("seal"))
		if err != nil {
			r.Fatal(err)
		}
		head, err := OpenHead(crypto.Single{}, author.Chain, s.Head.Signed)
		if err != nil {
			r.Fatal(err)
		}
		want := must(MarshalContent(d.Content))(t)
		for _, p := range append(slices.Clone(readers), author) {
			l, err := p.Open(head, s.slotOf(p.Address()), s.Payload)
			if err != nil {
				r.Fatal(err)
			}
			if got := must(MarshalContent(l.Content))(t); !bytes.Equal(got, want) {
				r.Fatalf("opened to %x, sealed was %x", got, want)
			}
		}
	})
}

func TestSealRefusals(t *testing.T) {
	ann, bob, carol := user(t, "ann"), user(t, "bob"), user(t, "carol")
	d := bob.draft()
	d.Closed = true
	gone := &person{Keyring: &Keyring{Chain: after(t, bob.Chain, d, bob.paper)}}
	first := ann.seal(t, ann.letter(t, "one", bob, carol)).Head
	recalled := ann.seal(t, Draft{Author: ann.Chain, Prev: first, Time: testTime()}).Head
	final := ann.letter(t, "once", bob)
	final.Terms = Final
	sent := ann.seal(t, final).Head
	edit := func(prev *Head, readers ...*person) Draft {
		d := ann.letter(t, "two", readers...)
		d.Prev = prev
		return d
	}
	many := ann.letter(t, "all")
	for range MaxRecipients + 1 {
		many.Readers = append(many.Readers, bob.Chain)
	}
	with := func(d Draft, edit func(d *Draft)) Draft { edit(&d); return d }
	for name, x := range map[string]struct {
		draft Draft
		want  Code
	}{
		"to nobody":                 {ann.letter(t, "x"), Invalid},
		"to somebody twice":         {ann.letter(t, "x", bob, bob), Invalid},
		"to too many":               {many, Invalid},
		"to a closed identity":      {ann.letter(t, "x", gone), Denied},
		"no audience":               {with(ann.letter(t, "x", bob), func(d *Draft) { d.Audience = 0 }), Invalid},
		"public with readers":       {with(ann.letter(t, "x", bob), func(d *Draft) { d.Audience = Public }), Invalid},
		"private with a name":       {with(ann.letter(t, "x", bob), func(d *Draft) { d.Name = "x" }), Invalid},
		"no contract":               {with(ann.letter(t, "x", bob), func(d *Draft) { d.Terms = 0 }), Invalid},
		"expires but revisable":     {with(ann.letter(t, "x", bob), func(d *Draft) { d.Expires = testTime() }), Invalid},
		"ephemeral without an end":  {with(ann.letter(t, "x", bob), func(d *Draft) { d.Terms = Ephemeral }), Invalid},
		"no mid":                    {with(ann.letter(t, "x", bob), func(d *Draft) { d.MID = MID{} }), Invalid},
		"no time":                   {with(ann.letter(t, "x", bob), func(d *Draft) { d.Time = time.Time{} }), Invalid},
		"recall of nothing":         {with(ann.letter(t, "x", bob), func(d *Draft) { d.Content = nil }), Invalid},
		"too long":                  {with(ann.letter(t, "x", bob), func(d *Draft) { d.Content = text(string(make([]byte, MaxPayload))) }), TooLarge},
		"too long in the open":      {with(ann.post(t, "", "x"), func(d *Draft) { d.Content = text(string(make([]byte, MaxPayload))) }), TooLarge},
		"no type":                   {with(ann.letter(t, "x", bob), func(d *Draft) { d.Content = &Content{Components: []Component{{}}} }), Invalid},
		"name is a mid":             {ann.post(t, "0123456789abcdef0123456789abcdef", "x"), Invalid},
		"by another author":         {with(edit(first, bob, carol), func(d *Draft) { d.Author = bob.Chain }), BadSignature},
		"edit for fewer":            {edit(first, bob), Invalid},
		"edit for others":           {edit(first, bob, ann), Invalid},
		"edit in another order":     {edit(first, carol, bob), Invalid},
		"edit after the recall":     {edit(recalled, bob, carol), Recalled},
		"recall after the recall":   {Draft{Author: ann.Chain, Prev: recalled, Time: testTime()}, Recalled},
		"second version of a final": {edit(sent, bob), Contract},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Seal(x.draft, ann.Signer, from("seal"))
			refused(t, err, x.want)
			if s != nil {
				t.Error("something was sealed all the same")
			}
		})
	}
	_, err := Seal(ann.letter(t, "x", bob), crypto.SigningKey{}, from("seal"))
	refused(t, err, Internal)
	_, err = Seal(ann.letter(t, "x", bob), ann.Signer, nil)
	refused(t, err, Internal)
	_, err = Seal(ann.letter(t, "x", classical(t, "dan")), ann.Signer, bytes.NewReader(make([]byte, 40)))
	refused(t, err, Internal)
	_, err = Seal(with(edit(first, bob, carol), func(d *Draft) { d.Author = bob.Chain }), bob.Signer, from("seal"))
	refused(t, err, Invalid)
}

func TestVersions(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	d := ann.letter(t, "one", bob)
	d.Terms, d.Expires = Ephemeral, testTime().Add(time.Hour)
	one := ann.seal(t, d)
	two := ann.seal(t, Draft{Author: ann.Chain, Readers: d.Readers, Prev: one.Head, Time: testTime(), Content: text("two"), Terms: Final, Name: "no"})
	if two.Head.Version != 2 || two.Head.Prev != one.Head.ID || two.Head.Ref() != one.Head.Ref() || two.Head.Terms != Ephemeral || !two.Head.Expires.Equal(one.Head.Expires) {
		t.Errorf("second version %+v", two.Head)
	}
	if bytes.Equal(one.Slots[0].Sealed, two.Slots[0].Sealed) || one.Head.Commit == two.Head.Commit {
		t.Error("the second version has the key of the first")
	}
	for at, want := range map[time.Duration]bool{time.Hour - time.Millisecond: false, time.Hour: true} {
		if got := one.Head.Expired(testTime().Add(at)); got != want {
			t.Errorf("expired after %s: %v", at, got)
		}
	}
	gone := ann.seal(t, Draft{Author: ann.Chain, Prev: two.Head, Time: testTime()})
	if !gone.Head.Tombstone() || gone.Payload != nil || gone.Slots != nil || gone.Head.Suite != crypto.SuiteChaCha {
		t.Errorf("recall %+v", gone)
	}
	if l, err := bob.Open(gone.Head, nil, nil); err != nil || l.Content != nil {
		t.Errorf("a recall opens to %v, %v", l, err)
	}
	refused(t, one.Head.CheckNext(gone.Head), Conflict)
	refused(t, two.Head.CheckFirst(), Conflict)
	if err := one.Head.CheckFirst(); err != nil {
		t.Error(err)
	}
}

// A name is one register: after a recall a new message begins under it.
func TestNameAfterTombstone(t *testing.T) {
	ann := user(t, "ann")
	d := ann.post(t, "profile", "I am Ann")
	d.Terms = Final
	one := ann.seal(t, d).Head
	refusedDraft := Draft{Author: ann.Chain, Prev: one, Time: testTime(), Content: text("no")}
	_, err := Seal(refusedDraft, ann.Signer, from("seal"))
	refused(t, err, Contract)
	gone := ann.seal(t, Draft{Author: ann.Chain, Prev: one, Time: testTime()}).Head
	_, err = Seal(Draft{Author: ann.Chain, Prev: gone, Time: testTime()}, ann.Signer, from("seal"))
	refused(t, err, Recalled)
	_, err = Seal(Draft{Author: ann.Chain, Prev: gone, Time: testTime(), Content: text("no contract")}, ann.Signer, from("seal"))
	refused(t, err, Invalid)
	again := ann.seal(t, Draft{
		Author: ann.Chain, Prev: gone, Time: testTime(), Content: text("Ann again"), Terms: Ephemeral, Expires: testTime().Add(time.Hour),
	}).Head
	if again.Version != 3 || again.MID != NamedMID("profile") || again.Terms != Ephemeral || again.Name != "profile" {
		t.Errorf("third version %+v", again)
	}
}

// Each version is sealed to the readers' cards of that day.
func TestEditGoesToTheNewBox(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	one := ann.seal(t, ann.letter(t, "one", bob))
	old := bob.Boxes
	fresh := must(crypto.NewBoxKey(crypto.BoxHybrid, from("fresh")))(t)
	d := bob.draft()
	d.Boxes = []crypto.Box{fresh.Public()}
	bob.Chain = after(t, bob.Chain, d, bob.paper)
	two := ann.seal(t, Draft{Author: ann.Chain, Readers: []*Chain{bob.Chain}, Prev: one.Head, Time: testTime(), Content: text("two")})
	_, err := Open(two.Head, two.slotOf(bob.Address()), old, two.Payload)
	refused(t, err, NotFound)
	if _, err := Open(two.Head, two.slotOf(bob.Address()), []crypto.BoxKey{old[0], fresh}, two.Payload); err != nil {
		t.Error(err)
	}
}

func TestCheckSlots(t *testing.T) {
	ann, bob, carol := user(t, "ann"), user(t, "bob"), user(t, "carol")
	s := ann.seal(t, ann.letter(t, "hello", bob, carol))
	post := ann.seal(t, ann.post(t, "", "to all"))
	stranger := proto.CloneOf(s.Slots[0])
	stranger.Address = user(t, "dan").Address().Bytes()
	edit := func(f func(slot *wirev1.Slot)) []*wirev1.Slot {
		out := slices.Clone(s.Slots)
		out[0] = proto.CloneOf(out[0])
		f(out[0])
		return out
	}
	for name, x := range map[string]struct {
		head  *Head
		slots []*wirev1.Slot
	}{
		"none":            {s.Head, nil},
		"one missing":     {s.Head, s.Slots[1:]},
		"one twice":       {s.Head, []*wirev1.Slot{s.Slots[0], s.Slots[0], s.Slots[2]}},
		"one too many":    {s.Head, append(slices.Clone(s.Slots), stranger)},
		"a stranger's":    {s.Head, []*wirev1.Slot{s.Slots[0], s.Slots[1], stranger}},
		"a nil slot":      {s.Head, []*wirev1.Slot{s.Slots[0], s.Slots[1], nil}},
		"short box id":    {s.Head, edit(func(s *wirev1.Slot) { s.Box = s.Box[:15] })},
		"empty":           {s.Head, edit(func(s *wirev1.Slot) { s.Sealed = nil })},
		"too long":        {s.Head, edit(func(s *wirev1.Slot) { s.Sealed = make([]byte, MaxSlot+1) })},
		"no address":      {s.Head, edit(func(s *wirev1.Slot) { s.Address = nil })},
		"with a public":   {post.Head, s.Slots[:1]},
		"with a recalled": {ann.seal(t, Draft{Author: ann.Chain, Prev: s.Head, Time: testTime()}).Head, s.Slots},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, x.head.CheckSlots(x.slots), Invalid)
			var slots [][]byte
			for _, slot := range x.slots {
				slots = append(slots, bytesOf(t, slot))
			}
			vec(t, "slots/check_slots", name, inputs{Cards: cardsOf(t, ann.Chain), Statement: bytesOf(t, x.head.Signed), Slots: slots}, Invalid)
		})
	}
}

// A message goes to its readers; nobody else can open it.
func ExampleSeal() {
	ann, _ := NewKeyring(RoleUser, bytes.Repeat([]byte{1}, 32), testTime(), from("ann"))
	bob, _ := NewKeyring(RoleUser, bytes.Repeat([]byte{2}, 32), testTime(), from("bob"))
	mid, _ := NewMID(testTime(), from("mid"))
	content := &Content{}
	content.Set(TypeSubject, []byte("Lunch"))
	content.Set(TypeMarkdown, []byte("At *noon*?"))
	sealed, _ := Seal(Draft{
		Author: ann.Chain, Readers: []*Chain{bob.Chain}, MID: mid, Time: testTime(), Audience: Private, Terms: Revisable, Content: content,
	}, ann.Signer, from("seal"))

	// What travels is the head, a slot for each reader, and the payload.
	head, _ := OpenHead(crypto.Single{}, ann.Chain, sealed.Head.Signed)
	letter, _ := bob.Open(head, sealed.Slots[0], sealed.Payload)
	body, _ := letter.Content.Body()
	fmt.Println(letter.Content.Subject(), body, letter.Classical)
	// Output: Lunch At *noon*? false
}

// An identity begins with a paper key, which is shown once and forgotten.
func ExampleNewKeyring() {
	paper := crypto.Secret(bytes.Repeat([]byte{7}, 32))
	k, _ := NewKeyring(RoleUser, paper, testTime(), from("example"))
	fmt.Println(k.Address())
	fmt.Println(k.Chain.Head().Role, len(k.Rotation), len(k.Boxes))
	// Output:
	// ad1q5aex0n3yj8gn6qutg59apj6h4l3p9f9gm5gerfq66xsxv3
	// user 1 2
}
