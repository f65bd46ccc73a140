package relay

import (
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// The subprotocols of the WebSocket: frames as protobuf in binary messages, or as
// protobuf's JSON in text messages.
const (
	Binary = "airdispatch.live.v1+proto"
	Text   = "airdispatch.live.v1+json"
)

// Path is where a mail server answers.
const Path = "/ws"

const (
	// MaxFrame bounds a frame in either form, in bytes.
	MaxFrame = 64 << 10
	// MaxData bounds the bytes of a stream in one frame, so that they fit as JSON too.
	MaxData = 32 << 10
	// MaxBundle bounds the cards that come with a hello or a call, for the same reason.
	MaxBundle = 40 << 10
	// Window is how many bytes of a stream may be under way: written, and not yet
	// consumed by whoever reads at the other end.
	Window = 256 << 10
	// maxProtocols bounds what one socket serves.
	maxProtocols = 64
	// maxProtocol bounds a protocol's name.
	maxProtocol = 64
)

// ID names a connection: random, chosen by the caller, known to both ends and to
// the relay.
type ID [16]byte

// CheckProtocol refuses, with message.Invalid, what is no name of a protocol: 1 to
// 64 letters, digits and any of . _ - / +.
func CheckProtocol(name string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/+", r)
	}
	if name == "" || len(name) > maxProtocol || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("relay: protocol %.70q: 1 to %d letters, digits and . _ - / +: %w", name, maxProtocol, message.Invalid)
	}
	return nil
}

// parseFrame reads one message of a socket. The bytes of a stream in it are those of b,
// which whoever keeps them copies. Errors: message.TooLarge, message.Invalid.
func parseFrame(text bool, b []byte) (*wirev1.LiveFrame, error) {
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("relay: frame of %d bytes: %w", len(b), message.TooLarge)
	}
	f := &wirev1.LiveFrame{}
	var err error
	if text {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, f)
	} else if d := parseData(b); d != nil {
		f.Kind = &wirev1.LiveFrame_Data{Data: d}
	} else {
		err = proto.Unmarshal(b, f)
	}
	if err != nil || !sound(f) {
		return nil, fmt.Errorf("relay: not a frame: %w", message.Invalid)
	}
	return f, nil
}

// The fields of LiveFrame.data and of LiveData, as relay.proto numbers them.
const (
	fieldData       protowire.Number = 8
	fieldConnection protowire.Number = 1
	fieldOffset     protowire.Number = 2
	fieldBytes      protowire.Number = 3
)

// parseData reads a frame of bytes without copying them: almost all that goes through a
// relay is these. nil where it is anything else, or written as no protobuf library does.
func parseData(b []byte) *wirev1.LiveData {
	num, kind, n := protowire.ConsumeTag(b)
	if n < 0 || num != fieldData || kind != protowire.BytesType {
		return nil
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 || n+m != len(b) {
		return nil
	}
	d := &wirev1.LiveData{}
	for len(body) > 0 {
		num, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil
		}
		body = body[n:]
		switch {
		case num == fieldConnection && kind == protowire.BytesType:
			d.Connection, n = protowire.ConsumeBytes(body)
		case num == fieldOffset && kind == protowire.VarintType:
			d.Offset, n = protowire.ConsumeVarint(body)
		case num == fieldBytes && kind == protowire.BytesType:
			d.Bytes, n = protowire.ConsumeBytes(body)
		default:
			return nil
		}
		if n < 0 {
			return nil
		}
		body = body[n:]
	}
	return d
}

// appendData writes a frame of bytes behind b.
func appendData(b []byte, d *wirev1.LiveData) []byte {
	size := protowire.SizeTag(fieldConnection) + protowire.SizeBytes(len(d.GetConnection())) +
		protowire.SizeTag(fieldOffset) + protowire.SizeVarint(d.GetOffset()) + protowire.SizeTag(fieldBytes) + protowire.SizeBytes(len(d.GetBytes()))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldData, protowire.BytesType), uint64(size))
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldConnection, protowire.BytesType), d.GetConnection())
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldOffset, protowire.VarintType), d.GetOffset())
	return protowire.AppendBytes(protowire.AppendTag(b, fieldBytes, protowire.BytesType), d.GetBytes())
}

// sound looks at the sizes and forms in a frame. A frame of a kind that is not
// known here is sound: it is passed over.
func sound(f *wirev1.LiveFrame) bool {
	switch k := f.GetKind().(type) {
	case *wirev1.LiveFrame_Hello:
		return len(k.Hello.GetSession()) == len(ID{}) && bounded(k.Hello.GetBundle())
	case *wirev1.LiveFrame_Serve:
		for _, p := range k.Serve.GetProtocols() {
			if CheckProtocol(p) != nil {
				return false
			}
		}
		return len(k.Serve.GetProtocols()) <= maxProtocols
	case *wirev1.LiveFrame_Call:
		c := k.Call
		return isID(c.GetConnection()) && CheckProtocol(c.GetProtocol()) == nil && bounded(c.GetBundle())
	case *wirev1.LiveFrame_Answer:
		return isID(k.Answer.GetConnection())
	case *wirev1.LiveFrame_Data:
		n := uint64(len(k.Data.GetBytes()))
		return isID(k.Data.GetConnection()) && n > 0 && n <= MaxData && k.Data.GetOffset() < maxOffset
	case *wirev1.LiveFrame_Credit:
		return isID(k.Credit.GetConnection()) && k.Credit.GetConsumed() < maxOffset
	case *wirev1.LiveFrame_Close:
		return isID(k.Close.GetConnection()) && k.Close.GetOffset() < maxOffset
	case *wirev1.LiveFrame_Resume:
		return isID(k.Resume.GetConnection()) && k.Resume.GetReceived() < maxOffset
	case *wirev1.LiveFrame_Direct:
		d := k.Direct
		return isID(d.GetConnection()) && d.GetReceived() < maxOffset && d.GetConsumed() <= d.GetReceived() && d.GetReceived()-d.GetConsumed() <= Window
	}
	return true
}

// maxOffset keeps sums of offsets and lengths from overflowing.
const maxOffset = 1 << 62

func isID(b []byte) bool { return len(b) == len(ID{}) }

func bounded(w *wirev1.Identity) bool { return w == nil || proto.Size(w) <= MaxBundle }

// appendFrame writes a frame in the form of a socket.
func appendFrame(text bool, f *wirev1.LiveFrame) (websocket.MessageType, []byte, error) {
	return appendFrameTo(nil, text, f)
}

// appendFrameTo is appendFrame behind b.
func appendFrameTo(b []byte, text bool, f *wirev1.LiveFrame) (websocket.MessageType, []byte, error) {
	var err error
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
		b, err = protojson.MarshalOptions{}.MarshalAppend(b, f)
	} else if d := f.GetData(); d != nil {
		b = appendData(b, d)
	} else {
		b, err = proto.MarshalOptions{}.MarshalAppend(b, f)
	}
	if err != nil || len(b) > MaxFrame {
		return kind, nil, fmt.Errorf("relay: frame of %d bytes: %w", len(b), message.TooLarge)
	}
	return kind, b, nil
}

func callFrame(c *wirev1.LiveCall) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: c}}
}

func answerFrame(id ID, r Reason) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id[:], Reason: wirev1.LiveReason(r)}}}
}

func dataFrame(id ID, offset uint64, b []byte) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id[:], Offset: offset, Bytes: b}}}
}

func creditFrame(id ID, consumed uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id[:], Consumed: consumed}}}
}

func closeFrame(id ID, r Reason, offset uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id[:], Reason: wirev1.LiveReason(r), Offset: offset}}}
}

func resumeFrame(id ID, received uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id[:], Received: received}}}
}

func directFrame(id ID, step wirev1.LiveStep, received, consumed uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id[:], Step: step, Received: received, Consumed: consumed}}}
}

func refusalFrame(r *wirev1.Refusal) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Refusal{Refusal: r}}
}

func pongFrame() *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Pong{Pong: &wirev1.LivePing{}}}
}
