package message_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestCheckFields tells dense bytes from those that only are many.
func TestCheckFields(t *testing.T) {
	empties := bytes.Repeat([]byte{0x0a, 0}, message.MaxFields+1)
	nested := protowire.AppendTag(nil, 1, protowire.BytesType)
	nested = protowire.AppendBytes(nested, bytes.Repeat([]byte{0x12, 0}, message.MaxFields))
	full, err := proto.Marshal(&wirev1.SubmitRequest{Submissions: []*wirev1.Submission{
		{Payload: make([]byte, message.MaxPayload)}, {Payload: bytes.Repeat([]byte{0x0a, 0}, message.MaxPayload/2)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		b    []byte
		want error
	}{
		"nothing":                     {nil, nil},
		"empty messages":              {empties, message.TooLarge},
		"one fewer":                   {empties[2:], nil},
		"empty messages in a message": {nested, message.TooLarge},
		"payloads of any bytes":       {full, nil},
		"no message at all":           {bytes.Repeat([]byte{0xff}, 1<<20), nil},
	}
	for name, test := range tests {
		if err := message.CheckFields(test.b, &wirev1.SubmitRequest{}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
