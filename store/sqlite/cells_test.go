package sqlite

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// FuzzShare: what is read by hand is what the library reads, fields that nobody
// here knows included, and what the library refuses is refused.
func FuzzShare(f *testing.F) {
	whole, err := proto.Marshal(&wirev1.Signed{Body: []byte("body"), Key: []byte("key"), Signature: []byte("signature")})
	if err != nil {
		f.Fatal(err)
	}
	twice, err := proto.Marshal(&wirev1.Submission{
		Slots: []*wirev1.Slot{{Address: []byte("a"), Box: []byte("b"), Sealed: []byte("c")}, {Address: []byte("d")}},
		Blobs: []*wirev1.BlobRef{{Hash: make([]byte, 32), Size: 7}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(twice)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(protowire.AppendString(protowire.AppendTag(bytes.Clone(whole), 9, protowire.BytesType), "from tomorrow"))
	f.Add(protowire.AppendVarint(protowire.AppendTag(bytes.Clone(whole), 2, protowire.VarintType), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		var signed wirev1.Signed
		wantErr := proto.Unmarshal(b, &signed)
		got, err := shareSigned(b)
		if (err == nil) != (wantErr == nil) || err == nil && !proto.Equal(got, &signed) {
			t.Fatalf("a statement: got %v, %v, want %v, %v", got, err, &signed, wantErr)
		}
		var slot wirev1.Slot
		wantErr = proto.Unmarshal(b, &slot)
		one, err := shareSlot(b)
		if (err == nil) != (wantErr == nil) || err == nil && !proto.Equal(one, &slot) {
			t.Fatalf("a slot: got %v, %v, want %v, %v", one, err, &slot, wantErr)
		}
		var v store.Version
		if err := shareParts(b, &v); err != nil {
			return
		}
		var parts wirev1.Submission
		if err := proto.Unmarshal(b, &parts); err != nil {
			return // of fields that a version's parts do not have
		}
		if len(parts.GetSlots()) != len(v.Slots) || len(parts.GetBlobs()) != len(v.Blobs) {
			t.Fatalf("parts: %d slots and %d blobs, want %d and %d", len(v.Slots), len(v.Blobs), len(parts.GetSlots()), len(parts.GetBlobs()))
		}
		for n, s := range parts.GetSlots() {
			if !proto.Equal(s, v.Slots[n]) {
				t.Fatalf("slot %d: got %v, want %v", n, v.Slots[n], s)
			}
		}
	})
}
