package mailserver

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// description is what a head in the own store says about who may have it. It
// was verified when it was kept; serving it does not verify it again, the
// reader does.
type description struct {
	public    bool
	tombstone bool
	to        []message.Address
	expires   int64
	payload   int
}

// describe reads a kept head.
func describe(s *wirev1.Signed) (description, error) {
	var d description
	var h wirev1.Head
	var b wirev1.Binding
	if proto.Unmarshal(s.GetBody(), &h) != nil || proto.Unmarshal(h.GetBinding(), &b) != nil {
		return d, fmt.Errorf("mailserver: a kept head is damaged: %w", message.Internal)
	}
	for _, raw := range b.GetTo() {
		a, err := message.AddressFromBytes(raw)
		if err != nil {
			return d, fmt.Errorf("mailserver: a kept head is damaged: %w", message.Internal)
		}
		d.to = append(d.to, a)
	}
	d.public = b.GetAudience() == wirev1.Audience_AUDIENCE_PUBLIC
	d.tombstone = b.GetKind() == wirev1.Kind_KIND_TOMBSTONE
	d.expires, d.payload = b.GetExpires(), int(h.GetPayloadLen())
	return d, nil
}

// addressed reports whether a is among the recipients.
func (d description) addressed(a message.Address) bool { return slices.Contains(d.to, a) }

// expired reports whether an ephemeral message is over. Its tombstone stays.
func (d description) expired(now time.Time) bool {
	return d.expires != 0 && !d.tombstone && now.UnixMilli() >= d.expires
}
