package relay

import (
	"testing"

	"google.golang.org/protobuf/proto"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// FuzzFrame: whatever comes, a frame is refused or is one that can be written
// again, in both forms, with ids that can be read.
func FuzzFrame(f *testing.F) {
	id := ID{1, 2, 3}
	for _, frame := range []*wirev1.LiveFrame{
		callFrame(&wirev1.LiveCall{Connection: id[:], To: []byte{1}, Protocol: "echo"}), answerFrame(id, Refused), dataFrame(id, 7, []byte("bytes")),
		creditFrame(id, 9), closeFrame(id, Done, 5), resumeFrame(id, 4), pongFrame(),
		{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: id[:]}}},
		{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: []string{"echo"}}}},
	} {
		for _, text := range []bool{false, true} {
			if _, b, err := appendFrame(text, frame); err == nil {
				f.Add(text, b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text bool, b []byte) {
		frame, err := parseFrame(text, b)
		if err != nil {
			return
		}
		if d := frame.GetData(); d != nil && len(d.GetBytes()) > MaxData {
			t.Fatalf("%d bytes in a frame", len(d.GetBytes()))
		}
		for _, text := range []bool{false, true} {
			_, again, err := appendFrame(text, frame)
			if err != nil {
				continue // what came as one form may be too large in the other
			}
			back, err := parseFrame(text, again)
			if err != nil || text != true && !proto.Equal(back, frame) {
				t.Fatalf("%v came back as %v, %v", frame, back, err)
			}
		}
	})
}
