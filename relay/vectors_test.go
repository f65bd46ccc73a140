package relay_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"airdispatch/crypto"
	"airdispatch/internal/vectors"
	"airdispatch/message"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

var update = flag.Bool("update", false, "add new test vectors")

// given is what the operations of the vectors are given. Where Size is there, zeros follow Bytes up to it.
type given struct {
	Form       string `json:"form,omitempty"`
	Text       string `json:"text,omitempty"`
	Bytes      []byte `json:"bytes,omitempty"`
	Size       int    `json:"size,omitempty"`
	Connection []byte `json:"connection,omitempty"`
	Token      []byte `json:"token,omitempty"`
	Leaves     bool   `json:"leaves,omitempty"`
}

// all is the bytes that came.
func (in given) all() []byte {
	if in.Form == "json" {
		return []byte(in.Text)
	}
	return append(bytes.Clone(in.Bytes), make([]byte, max(0, in.Size-len(in.Bytes)))...)
}

// result is what an operation gives.
type result = map[string]any

func published() vectors.Set[given] {
	return vectors.Set[given]{Dir: "../testdata/vectors/relay", Update: *update, Ops: map[string]func(testing.TB, given) (any, error){
		"frame": func(_ testing.TB, in given) (any, error) {
			f, err := relay.ParseFrame(in.Form == "json", in.all())
			if err != nil {
				return nil, err
			}
			return frameResult(f), nil
		},
		"handshakes": func(_ testing.TB, in given) (any, error) {
			if len(in.Connection) != len(relay.ID{}) {
				return nil, message.Invalid
			}
			return result{"names": relay.Handshakes(relay.ID(in.Connection), in.Leaves)}, nil
		},
		"direct_handshake": func(_ testing.TB, in given) (any, error) {
			return result{"name": relay.DirectName(in.Token)}, nil
		},
		"offer": func(_ testing.TB, in given) (any, error) {
			candidates, token, err := relay.ParseOffer(in.all())
			out := []string{}
			for _, c := range candidates {
				out = append(out, c.String())
			}
			return result{"candidates": out, "token": token}, err
		},
		"preface":  runPreface,
		"messages": runMessages,
	}}
}

// TestVectors: every published vector holds.
func TestVectors(t *testing.T) { published().Check(t, 140) }

// frameResult is a frame for a vector: its kind, and all that it has, zeros too.
func frameResult(f *wirev1.LiveFrame) result {
	m := f.ProtoReflect()
	kind := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if kind == nil {
		return result{"kind": ""}
	}
	out := result{"kind": string(kind.Name())}
	inner := m.Get(kind).Message()
	for i := range inner.Descriptor().Fields().Len() {
		field := inner.Descriptor().Fields().Get(i)
		out[string(field.Name())] = shown(field, inner.Get(field))
	}
	return out
}

func shown(field protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case field.IsList():
		out := []string{}
		for i := range v.List().Len() {
			out = append(out, v.List().Get(i).String())
		}
		return out
	case field.Kind() == protoreflect.MessageKind:
		bundle, ok := v.Message().Interface().(*wirev1.Identity)
		return result{"there": ok && v.Message().IsValid(), "cards": len(bundle.GetCards())}
	case field.Kind() == protoreflect.BytesKind:
		return v.Bytes()
	case field.Kind() == protoreflect.EnumKind:
		return int(v.Enum())
	case field.Kind() == protoreflect.BoolKind:
		return v.Bool()
	case field.Kind() == protoreflect.Uint64Kind:
		return strconv.FormatUint(v.Uint(), 10)
	case field.Kind() == protoreflect.Int64Kind:
		return strconv.FormatInt(v.Int(), 10)
	}
	return v.String()
}

// runPreface cuts the offer off what a callee says first.
func runPreface(_ testing.TB, in given) (any, error) {
	from := bytes.NewReader(in.all())
	offer, err := relay.ReadPreface(from)
	switch {
	case errors.Is(err, relay.Broken):
		return nil, fmt.Errorf("%w: %w", message.TooLarge, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", message.Invalid, err)
	}
	rest, err := io.ReadAll(from)
	return result{"offer": offer, "rest": rest}, err
}

// runMessages brings bytes over a connection, and reads the messages in them.
func runMessages(tb testing.TB, in given) (any, error) {
	t := tb.(*testing.T)
	w := newWorld(t, relay.Limits{}, "alice", "bob")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "m", w.listener("bob", "m"))
	go func() {
		_, _ = near.Write(in.all()) // the reader may stop early
		_ = near.Close()
	}()
	defer far.Close()
	out := []result{}
	for {
		b, err := far.ReadMessage()
		switch {
		case errors.Is(err, io.EOF):
			return result{"messages": out}, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, message.Invalid
		case err != nil:
			return nil, err
		}
		sum := crypto.Sum(b)
		out = append(out, result{"size": len(b), "sha256": hex.EncodeToString(sum[:])})
	}
}

var vectorID = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}

// soundFrames has frames of every kind.
func soundFrames() map[string]*wirev1.LiveFrame {
	id := vectorID
	bundle := &wirev1.Identity{Cards: []*wirev1.Signed{{Body: []byte("body"), Key: []byte("key"), Signature: []byte("signature")}, {}}}
	to := append([]byte{0}, bytes.Repeat([]byte{7}, 25)...)
	return map[string]*wirev1.LiveFrame{
		"hello":                {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: id}}},
		"hello with all":       {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: id, Authorization: "Airdispatch AAAA", Bundle: bundle}}},
		"welcome":              {Kind: &wirev1.LiveFrame_Welcome{Welcome: &wirev1.LiveWelcome{Address: to, ResumeFor: 60_000, Direct: true}}},
		"refusal":              {Kind: &wirev1.LiveFrame_Refusal{Refusal: &wirev1.Refusal{Reason: wirev1.Reason_REASON_NEED_BUNDLE, ServerTime: 1_795_243_332_000, Address: to}}},
		"serve":                {Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: []string{"echo", "A-z/0.9_+"}}}},
		"serve nothing":        {Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{}}},
		"serving":              {Kind: &wirev1.LiveFrame_Serving{Serving: &wirev1.LiveServing{}}},
		"call":                 {Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, To: to, Protocol: "echo"}}},
		"call as it arrives":   {Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, From: to, To: to, Protocol: strings.Repeat("p", 64), Bundle: bundle}}},
		"answer that takes it": {Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id}}},
		"answer with a reason": {Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id, Reason: wirev1.LiveReason_LIVE_REASON_NOT_ONLINE}}},
		"data":                 {Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id, Bytes: []byte("first")}}},
		"data far in":          {Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id, Offset: 1<<62 - 1, Bytes: []byte{0xff}}}},
		"credit":               {Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id, Consumed: 65_536}}},
		"close in order":       {Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id, Reason: wirev1.LiveReason_LIVE_REASON_DONE, Offset: 1 << 53}}},
		"close at once":        {Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id, Reason: wirev1.LiveReason_LIVE_REASON_BROKEN}}},
		"resume":               {Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id, Received: 1<<53 + 1}}},
		"ping":                 {Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}},
		"pong":                 {Kind: &wirev1.LiveFrame_Pong{Pong: &wirev1.LivePing{}}},
		"direct away":          {Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id, Step: wirev1.LiveStep_LIVE_STEP_AWAY}}},
		"direct back":          {Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id, Step: wirev1.LiveStep_LIVE_STEP_BACK, Received: 1 << 20, Consumed: 1<<20 - relay.Window}}},
		"direct back too":      {Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id, Step: wirev1.LiveStep_LIVE_STEP_BACK_TOO, Received: 5, Consumed: 5}}},
	}
}

// brokenFrames has frames that are refused.
func brokenFrames() map[string]*wirev1.LiveFrame {
	id := vectorID
	protocols := make([]string, 65)
	for i := range protocols {
		protocols[i] = fmt.Sprint("p", i)
	}
	data := func(id []byte, offset uint64, b []byte) *wirev1.LiveFrame {
		return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id, Offset: offset, Bytes: b}}}
	}
	call := func(protocol string) *wirev1.LiveFrame {
		return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, Protocol: protocol}}}
	}
	direct := func(received, consumed uint64) *wirev1.LiveFrame {
		return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id, Step: wirev1.LiveStep_LIVE_STEP_BACK, Received: received, Consumed: consumed}}}
	}
	return map[string]*wirev1.LiveFrame{
		"hello without a session":      {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{}}},
		"hello with a long session":    {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: append(bytes.Clone(id), 1)}}},
		"serve of too many":            {Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: protocols}}},
		"serve of no name":             {Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: []string{"a", ""}}}},
		"call without a protocol":      call(""),
		"call with a space":            call("no spaces"),
		"call with a long protocol":    call(strings.Repeat("p", 65)),
		"call with other letters":      call("écho"),
		"answer of a short connection": {Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id[1:]}}},
		"data without a connection":    data(nil, 0, []byte("x")),
		"data without bytes":           data(id, 7, nil),
		"data too far in":              data(id, 1<<62, []byte("x")),
		"credit too far":               {Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id, Consumed: 1<<64 - 1}}},
		"close too far":                {Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id, Reason: wirev1.LiveReason_LIVE_REASON_DONE, Offset: 1 << 62}}},
		"resume of a long connection":  {Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: append(bytes.Clone(id), id...)}}},
		"resume too far":               {Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id, Received: 1 << 62}}},
		"direct of more than came":     direct(4, 5),
		"direct beyond the window":     direct(relay.Window+1, 0),
	}
}

// TestFrameVectors has every kind in both forms, and what is no frame.
func TestFrameVectors(t *testing.T) {
	set := published()
	both := func(name string, f *wirev1.LiveFrame, want message.Code) {
		for _, text := range []bool{false, true} {
			b, err := relay.AppendFrame(text, f)
			if err != nil {
				t.Fatal(err)
			}
			in := given{Form: "proto", Bytes: b}
			if text {
				// protojson puts in spaces as it likes.
				in = given{Form: "json", Text: strings.ReplaceAll(string(b), `:  `, `: `)}
			}
			set.Offer(t, "frames/frame", name+", "+in.Form, in, want)
		}
	}
	for name, f := range soundFrames() {
		both(name, f, 0)
	}
	for name, f := range brokenFrames() {
		both(name, f, message.Invalid)
	}
	b64 := `"AAECAwQFBgcICQoLDA0O/w=="`
	for name, c := range map[string]struct {
		text string
		want message.Code
	}{
		"numbers as numbers":          {`{"credit":{"connection":` + b64 + `,"consumed":65536}}`, 0},
		"names as in the definition":  {`{"welcome":{"resume_for":"5"}}`, 0},
		"a reason by its number":      {`{"answer":{"connection":` + b64 + `,"reason":4}}`, 0},
		"base64 of URLs":              {`{"ping":null,"resume":{"connection":"AAECAwQFBgcICQoLDA0O_w","received":"1"}}`, 0},
		"a member that nobody knows":  {`{"resume":{"connection":` + b64 + `,"more":[{}]},"mood":"x"}`, 0},
		"a kind that nobody knows":    {`{"whatever":{}}`, 0},
		"nothing":                     {`{}`, 0},
		"spaces":                      {" {\n\t\"ping\" : { } }\r\n", 0},
		"two kinds":                   {`{"ping":{},"pong":{}}`, message.Invalid},
		"no object":                   {`[]`, message.Invalid},
		"no JSON":                     {`{"ping":{}`, message.Invalid},
		"two frames":                  {`{"ping":{}}{"ping":{}}`, message.Invalid},
		"a number below zero":         {`{"credit":{"connection":` + b64 + `,"consumed":-1}}`, message.Invalid},
		"a number with a fraction":    {`{"credit":{"connection":` + b64 + `,"consumed":1.5}}`, message.Invalid},
		"a number beyond 64 bits":     {`{"credit":{"connection":` + b64 + `,"consumed":"18446744073709551616"}}`, message.Invalid},
		"a connection that is a list": {`{"answer":{"connection":[0]}}`, message.Invalid},
		"no base64":                   {`{"answer":{"connection":"!AECAwQFBgcICQoLDA0O/w=="}}`, message.Invalid},
		"a protocol that is a number": {`{"serve":{"protocols":[7]}}`, message.Invalid},
	} {
		set.Offer(t, "frames/frame", name+", json", given{Form: "json", Text: c.text}, c.want)
	}
	large := append([]byte{0x42, 0x97, 0x80, 0x02, 0x0a, 16}, vectorID...) // data of 16 + 2 + 32,769 + 4 bytes
	most := append([]byte{0x42, 0x96, 0x80, 0x02, 0x0a, 16}, vectorID...)
	for name, c := range map[string]struct {
		in   given
		want message.Code
	}{
		"the most data":            {given{Bytes: append(most, 0x1a, 0x80, 0x80, 2), Size: 6 + 16 + 4 + 32<<10}, 0},
		"too much data":            {given{Bytes: append(large, 0x1a, 0x81, 0x80, 2), Size: 6 + 16 + 4 + 32<<10 + 1}, message.Invalid},
		"too large a frame":        {given{Bytes: []byte{0x62, 0}, Size: 64<<10 + 1}, message.TooLarge},
		"nothing":                  {given{}, 0},
		"a kind that nobody knows": {given{Bytes: []byte{0xfa, 1, 1, 'x'}}, 0},
		"the most cards":           {given{Bytes: append(append([]byte{0x0a, 0x96, 0xc0, 2, 0x0a, 16}, vectorID...), 0x1a, 0x80, 0xc0, 2, 0x0a, 0xfc, 0xbf, 2, 0x0a, 0xf8, 0xbf, 2), Size: 26 + 40<<10}, 0},
		"too many cards":           {given{Bytes: append(append([]byte{0x0a, 0x97, 0xc0, 2, 0x0a, 16}, vectorID...), 0x1a, 0x81, 0xc0, 2, 0x0a, 0xfd, 0xbf, 2, 0x0a, 0xf9, 0xbf, 2), Size: 27 + 40<<10}, message.Invalid},
		"no field":                 {given{Bytes: []byte{0xff, 0xff, 0xff}}, message.Invalid},
		"cut":                      {given{Bytes: []byte{0x42, 5, 0x0a}}, message.Invalid},
		"text that is no UTF-8":    {given{Bytes: []byte{0x22, 3, 0x0a, 1, 0xff}}, message.Invalid},
	} {
		c.in.Form = "proto"
		set.Offer(t, "frames/frame", name+", proto", c.in, c.want)
	}
}

// TestHandshakeVectors has the names of handshakes, and what goes in the sealed channel.
func TestHandshakeVectors(t *testing.T) {
	set := published()
	set.Offer(t, "handshakes/handshakes", "by the relay alone", given{Connection: vectorID}, 0)
	set.Offer(t, "handshakes/handshakes", "that may leave it", given{Connection: vectorID, Leaves: true}, 0)
	set.Offer(t, "handshakes/handshakes", "of a short name", given{Connection: vectorID[1:]}, message.Invalid)
	set.Offer(t, "handshakes/direct_handshake", "on a socket between both", given{Token: vectorID}, 0)

	token := bytes.Repeat([]byte{0xa5}, 16)
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprintf("192.0.2.%d:5000", i+1)
	}
	for name, c := range map[string]struct {
		w    *wirev1.LiveOffer
		want message.Code
	}{
		"none":            {&wirev1.LiveOffer{}, 0},
		"two":             {&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:5000", "[2001:db8::1]:6000"}}, 0},
		"eight":           {&wirev1.LiveOffer{Token: token, Candidates: many[:8]}, 0},
		"low ports":       {&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:0", "192.0.2.7:25", "192.0.2.7:1023", "192.0.2.7:1024"}}, 0},
		"groups":          {&wirev1.LiveOffer{Token: token, Candidates: []string{"224.0.0.251:5353", "[ff02::1]:5353", "255.255.255.255:9999"}}, 0},
		"no place":        {&wirev1.LiveOffer{Token: token, Candidates: []string{"0.0.0.0:2000", "[::]:2000"}}, 0},
		"link-local":      {&wirev1.LiveOffer{Token: token, Candidates: []string{"169.254.169.254:8080", "[fe80::1]:8080", "[fe80::1%eth0]:8080"}}, 0},
		"a zone":          {&wirev1.LiveOffer{Token: token, Candidates: []string{"[2001:db8::1%eth0]:8080"}}, 0},
		"loopback":        {&wirev1.LiveOffer{Token: token, Candidates: []string{"127.0.0.1:5000", "[::1]:5000"}}, 0},
		"one twice":       {&wirev1.LiveOffer{Token: token, Candidates: []string{"[::ffff:192.0.2.7]:5000", "192.0.2.7:5000", "192.0.2.7:5001"}}, 0},
		"nine":            {&wirev1.LiveOffer{Token: token, Candidates: many}, message.Invalid},
		"a name":          {&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:5000", "localhost:5000"}}, message.Invalid},
		"no port":         {&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7"}}, message.Invalid},
		"a high port":     {&wirev1.LiveOffer{Token: token, Candidates: []string{"192.0.2.7:65536"}}, message.Invalid},
		"bare IPv6":       {&wirev1.LiveOffer{Token: token, Candidates: []string{"2001:db8::1:6000"}}, message.Invalid},
		"nothing in it":   {&wirev1.LiveOffer{Token: token, Candidates: []string{""}}, message.Invalid},
		"a short token":   {&wirev1.LiveOffer{Token: token[1:], Candidates: many[:1]}, message.Invalid},
		"a long token":    {&wirev1.LiveOffer{Token: append(bytes.Clone(token), 0), Candidates: many[:1]}, message.Invalid},
		"without a token": {&wirev1.LiveOffer{Candidates: many[:1]}, message.Invalid},
	} {
		b, err := proto.Marshal(c.w)
		if err != nil {
			t.Fatal(err)
		}
		set.Offer(t, "offers/offer", name, given{Bytes: b}, c.want)
	}
	set.Offer(t, "offers/offer", "garbage", given{Bytes: []byte{0xff, 0xff}}, message.Invalid)
	set.Offer(t, "offers/offer", "too large", given{Bytes: []byte{0x0a, 0}, Size: 1<<10 + 1}, message.TooLarge)
	set.Offer(t, "offers/preface", "an offer and more", given{Bytes: []byte("\x00\x05offermore")}, 0)
	set.Offer(t, "offers/preface", "no offer", given{Bytes: []byte{0, 0}}, 0)
	set.Offer(t, "offers/preface", "the longest", given{Bytes: []byte{4, 0}, Size: 2 + 1<<10}, 0)
	set.Offer(t, "offers/preface", "one byte too long", given{Bytes: []byte{4, 1}, Size: 3 + 1<<10}, message.TooLarge)
	set.Offer(t, "offers/preface", "cut", given{Bytes: []byte("\x00\x05offe")}, message.Invalid)

	for name, c := range map[string]struct {
		in   given
		want message.Code
	}{
		"none":                {given{}, 0},
		"three, one empty":    {given{Bytes: []byte("\x00\x00\x00\x03one\x00\x00\x00\x00\x00\x00\x00\x05three")}, 0},
		"the longest":         {given{Bytes: []byte{0, 16, 0, 0}, Size: 4 + 1<<20}, 0},
		"one byte too long":   {given{Bytes: []byte("\x00\x00\x00\x01a\x00\x10\x00\x01"), Size: 9 + 1<<20 + 1}, message.TooLarge},
		"a length of lengths": {given{Bytes: []byte{0xff, 0xff, 0xff, 0xff}}, message.TooLarge},
		"cut in a message":    {given{Bytes: []byte("\x00\x00\x00\x03on")}, message.Invalid},
		"cut in a length":     {given{Bytes: []byte("\x00\x00\x00\x01a\x00\x00")}, message.Invalid},
	} {
		set.Offer(t, "messages/messages", name, c.in, c.want)
	}
}
