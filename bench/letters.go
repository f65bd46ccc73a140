package bench

import (
	"crypto/rand"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// A press makes as many messages of one author as are wanted, quickly: the
// first is sealed as every message is, the others have its payload and slots
// and a head of their own, signed anew. No server can tell.
type press struct {
	author  *person
	sealed  *message.Sealed
	head    *wirev1.Head
	binding *wirev1.Binding
}

// newPress makes a press for messages to one reader, or for public ones where
// reader is nil. The payload is 1 KiB.
func newPress(author *person, reader *message.Chain) (*press, error) {
	d := message.Draft{
		Author: author.keys.Chain, Time: time.Now(), Terms: message.Revisable, Audience: message.Public,
		Content: &message.Content{},
	}
	if reader != nil {
		d.Audience, d.Readers = message.Private, []*message.Chain{reader}
	}
	d.Content.Set(message.TypeSubject, []byte("what we said"))
	d.Content.Set(message.TypeMarkdown, []byte(strings.Repeat("a line of text\n", (row-120)/15)))
	var err error
	if d.MID, err = message.NewMID(time.Now(), rand.Reader); err != nil {
		return nil, err
	}
	p := &press{author: author, head: &wirev1.Head{}, binding: &wirev1.Binding{}}
	if p.sealed, err = message.Seal(d, author.keys.Signer, rand.Reader); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(p.sealed.Head.Signed.GetBody(), p.head); err != nil {
		return nil, err
	}
	return p, proto.Unmarshal(p.head.GetBinding(), p.binding)
}

// print makes one message. Safe for concurrent use.
func (p *press) print(int) (*wirev1.Submission, error) {
	mid, err := message.NewMID(time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	b := proto.CloneOf(p.binding)
	b.Mid = mid.Bytes()
	h := &wirev1.Head{PayloadHash: p.head.GetPayloadHash(), PayloadLen: p.head.GetPayloadLen(), Commit: p.head.GetCommit()}
	if h.Binding, err = proto.Marshal(b); err != nil {
		return nil, err
	}
	body, err := proto.Marshal(h)
	if err != nil {
		return nil, err
	}
	key := p.author.keys.Signer
	signed := &wirev1.Signed{Body: body, Key: key.Public().Bytes(), Signature: key.Sign("head", body)}
	return &wirev1.Submission{Head: signed, Slots: p.sealed.Slots, Payload: p.sealed.Payload}, nil
}

// mid of a message that a press made.
func mid(s *wirev1.Submission) ([]byte, error) {
	c, err := message.ParseHead(s.GetHead())
	if err != nil {
		return nil, err
	}
	return c.MID().Bytes(), nil
}

// alert is a message as it is brought to its reader.
func alert(s *wirev1.Submission, to message.Address) *wirev1.AlertItem {
	item := &wirev1.AlertItem{To: to.Bytes(), Head: s.GetHead()}
	for _, slot := range s.GetSlots() {
		if a, err := message.AddressFromBytes(slot.GetAddress()); err == nil && a == to {
			item.Slot = slot
		}
	}
	return item
}

// presses makes one for each of people, each writing to the next of them, or
// to everybody where public.
func presses(people []*person, public bool) ([]*press, error) {
	out := make([]*press, len(people))
	for i, p := range people {
		var reader *message.Chain
		if !public {
			reader = people[(i+1)%len(people)].keys.Chain
		}
		var err error
		if out[i], err = newPress(p, reader); err != nil {
			return nil, err
		}
	}
	return out, nil
}
