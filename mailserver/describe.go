package mailserver

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

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

// The fields that a description is made of, by number in a Head and a Binding.
const (
	headBinding    = 1
	headPayloadLen = 3
	bindingKind    = 7
	bindingPublic  = 8
	bindingTo      = 9
	bindingExpires = 12
)

// describe reads a kept head. Every message of every page comes through here, so
// it picks out what it needs and makes nothing of the rest.
func describe(s *wirev1.Signed) (description, error) {
	var d description
	var binding []byte
	sound := eachField(s.GetBody(), func(number protowire.Number, n uint64, b []byte) bool {
		switch {
		case number == headBinding && b != nil:
			binding = b
		case number == headPayloadLen && b == nil:
			d.payload = int(n)
		}
		return true
	})
	sound = sound && eachField(binding, func(number protowire.Number, n uint64, b []byte) bool {
		switch {
		case number == bindingKind && b == nil:
			d.tombstone = wirev1.Kind(n) == wirev1.Kind_KIND_TOMBSTONE
		case number == bindingPublic && b == nil:
			d.public = wirev1.Audience(n) == wirev1.Audience_AUDIENCE_PUBLIC
		case number == bindingExpires && b == nil:
			d.expires = int64(n)
		case number == bindingTo && b != nil:
			a, err := message.AddressFromBytes(b)
			d.to = append(d.to, a)
			return err == nil
		}
		return true
	})
	if !sound {
		return description{}, fmt.Errorf("mailserver: a kept head is damaged: %w", message.Internal)
	}
	return d, nil
}

// eachField calls f with the fields of a serialised message, numbers in n and
// bytes, which are never nil, in b, until it returns false. It reports whether
// the message is sound and f content.
func eachField(m []byte, f func(number protowire.Number, n uint64, b []byte) bool) bool {
	for len(m) > 0 {
		number, kind, size := protowire.ConsumeTag(m)
		if size < 0 {
			return false
		}
		m = m[size:]
		var n uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(m)
		default:
			if size = protowire.ConsumeFieldValue(number, kind, m); size < 0 {
				return false
			}
			m = m[size:]
			continue
		}
		if size < 0 || !f(number, n, b) {
			return false
		}
		m = m[size:]
	}
	return true
}

// addressed reports whether a is among the recipients.
func (d description) addressed(a message.Address) bool { return slices.Contains(d.to, a) }

// expired reports whether an ephemeral message is over. Its tombstone stays.
func (d description) expired(now time.Time) bool {
	return d.expires != 0 && !d.tombstone && now.UnixMilli() >= d.expires
}
