package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// brought is a letter as it is brought, after what somebody does to it.
func brought(author *message.Keyring, reader *message.Chain, change func(w *wirev1.NearbyLetter)) ([]byte, error) {
	sealed, err := letter(author, nil, "brought by hand", reader)
	if err != nil {
		return nil, err
	}
	w := &wirev1.NearbyLetter{Heads: []*wirev1.Signed{sealed.Head.Signed}, Slot: slotOf(sealed, reader.Address()), Payload: sealed.Payload}
	change(w)
	return proto.Marshal(w)
}

func malformedNearby(ctx context.Context, t *town) error {
	var f findings
	s, _, err := t.echoing(ctx)
	if err != nil {
		return err
	}
	s.well(ctx, &f) // now bob has ann's cards
	before, err := memoryOf(s.serving.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := s.badLetters(ctx, &f); err != nil {
		return err
	}
	for _, r := range []struct {
		method, path string
		body         []byte
		header       []string
	}{
		{"PUT", "/cards", random(1000), nil}, {"PUT", "/cards", bytes.Repeat([]byte("\x0a\x00"), 300<<10), nil}, {"GET", "/files/..%2f..%2fkeys", nil, nil}, {"GET", "/files/zz", nil, nil},
		{"GET", "/files/" + strings.Repeat("0", 64), nil, []string{"Range", "bytes=99999999999999999999-"}}, {"GET", "/connection", nil, upgrade("no spaces\x01")}, {"GET", "/connection", nil, upgrade(strings.Repeat("p", 65))},
		{"GET", "/connection", nil, nil}, {"DELETE", "/files", nil, nil}, {"GET", "/files", nil, []string{"X", strings.Repeat("x", 64<<10)}}, {"GET", "/ws", nil, []string{"Upgrade", "websocket", "Connection", "Upgrade"}},
	} {
		status, err := s.asks(ctx, s.ann.keys, s.ann.address, r.method, r.path, r.body, r.header...)
		f.must(err != nil || status >= 400, "%s %.40s: %d", r.method, r.path, status)
	}
	for _, text := range []string{"no request\r\n\r\n", "GET /ping HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "GET /ping HTTP/9.9\r\n\r\n", "\x16\x03\x01\xff\xff" + strings.Repeat("\xff", 70_000), strings.Repeat("\x00", 100_000)} {
		c, err := stranger(ctx, s.at, "127.0.0.1")
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, text) // the connection may be closed meanwhile
		b, _ := io.ReadAll(io.LimitReader(c, 1<<20))
		f.must(!bytes.Contains(b, []byte(" 200 ")), "%.20q was answered with %.100q", text, b)
		_ = c.Close()
	}
	if err := s.badLines(ctx, &f); err != nil {
		return err
	}
	mib, err := memoryOf(s.serving.cmd.Process.Pid)
	f.must(err == nil && mib < before+150, "%d MiB, before %d, %v", mib, before, err)
	s.well(ctx, &f)
	if err := s.badShares(ctx, &f); err != nil {
		return err
	}
	return f.all()
}

// badLetters brings letters that are none, as a contact, and then one that is.
func (s *street) badLetters(ctx context.Context, f *findings) error {
	mallory, err := s.t.born(ctx)
	if err != nil {
		return err
	}
	ann, bob := s.ann.keys, s.bob.keys.Chain
	other, err := letter(ann, nil, "another", bob)
	if err != nil {
		return err
	}
	for name, c := range map[string]struct {
		author *message.Keyring
		reader *message.Chain
		change func(w *wirev1.NearbyLetter)
	}{
		"somebody else's": {mallory.keys, bob, func(*wirev1.NearbyLetter) {}}, "for somebody else": {ann, mallory.keys.Chain, func(*wirev1.NearbyLetter) {}},
		"no head": {ann, bob, func(w *wirev1.NearbyLetter) { w.Heads = nil }}, "no slot": {ann, bob, func(w *wirev1.NearbyLetter) { w.Slot = nil }}, "no payload": {ann, bob, func(w *wirev1.NearbyLetter) { w.Payload = nil }},
		"a head twice": {ann, bob, func(w *wirev1.NearbyLetter) { w.Heads = append(w.Heads, w.Heads[0]) }}, "two letters": {ann, bob, func(w *wirev1.NearbyLetter) { w.Heads = append(w.Heads, other.Head.Signed) }},
		"a signature that is none": {ann, bob, func(w *wirev1.NearbyLetter) {
			w.Heads[0] = proto.Clone(w.Heads[0]).(*wirev1.Signed)
			w.Heads[0].Signature[9] ^= 1
		}},
		"another payload": {ann, bob, func(w *wirev1.NearbyLetter) { w.Payload = other.Payload }}, "another slot": {ann, bob, func(w *wirev1.NearbyLetter) { w.Slot = slotOf(other, s.bob.address) }},
		"a byte of the payload": {ann, bob, func(w *wirev1.NearbyLetter) { w.Payload = bytes.Clone(w.Payload); w.Payload[len(w.Payload)/2] ^= 1 }},
		"very many heads": {ann, bob, func(w *wirev1.NearbyLetter) {
			w.Heads = make([]*wirev1.Signed, 100_000)
			fill(w.Heads, other.Head.Signed)
		}},
		"very large": {ann, bob, func(w *wirev1.NearbyLetter) { w.Payload = make([]byte, 64<<20) }},
	} {
		b, err := brought(c.author, c.reader, c.change)
		if err != nil {
			return err
		}
		status, err := s.asks(ctx, ann, s.ann.address, "POST", "/letters", b)
		f.must(err != nil || status >= 400, "a letter, %s: %d", name, status)
	}
	for _, b := range [][]byte{nil, random(1000), bytes.Repeat([]byte{0x0a}, 5000)} {
		status, err := s.asks(ctx, ann, s.ann.address, "POST", "/letters", b)
		f.must(err == nil && status >= 400, "a letter of %d bytes: %d, %v", len(b), status, err)
	}
	in, err := s.bob.readBy(ctx)
	f.must(err == nil && len(in) == 0, "bob has %v, %v", in, err)
	b, err := brought(ann, bob, func(*wirev1.NearbyLetter) {})
	if err != nil {
		return err
	}
	for range 2 {
		status, err := s.asks(ctx, ann, s.ann.address, "POST", "/letters", b)
		f.must(err == nil && status == http.StatusNoContent, "the control: a letter in order: %d, %v", status, err)
	}
	in, err = s.bob.readBy(ctx)
	f.must(err == nil && len(in) == 1, "the control: bob has %v, %v", in, err)
	return nil
}

// fill makes all of a list the same.
func fill[T any](all []T, with T) {
	for n := range all {
		all[n] = with
	}
}

// badLines says what are no lines, in the clear, and then one that would command a terminal.
func (s *street) badLines(ctx context.Context, f *findings) error {
	d, err := speaks(s.t, s.at, "127.0.0.1")
	if err != nil {
		return err
	}
	id := nearby.ID(random(16))
	open := func() (*websocket.Conn, error) {
		if err := until(ctx, "an id that bob knows", func() bool {
			_, err := listed(ctx, s.at, d, id)
			return err == nil
		}); err != nil {
			return nil, err
		}
		ws, _, err := websocket.Dial(ctx, "ws://"+s.at+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"PeerID": {id.String()}}})
		return ws, err
	}
	for name, bad := range map[string]struct {
		kind websocket.MessageType
		b    []byte
	}{
		"text": {websocket.MessageText, []byte("never shown")}, "garbage": {websocket.MessageBinary, []byte{0xff, 0xff, 0xff}}, "too large": {websocket.MessageBinary, append([]byte{0x12, 0x80, 0x80, 0x08}, bytes.Repeat([]byte("x"), 128<<10)...)},
		"no text": {websocket.MessageBinary, []byte{0x12, 0x03, 0xff, 0xfe, 0xfd}}, "half": {websocket.MessageBinary, []byte{0x12, 0x7f, 'x'}},
	} {
		ws, err := open()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_ = ws.Write(ctx, bad.kind, bad.b) // the session may be closed meanwhile
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, _, err = ws.Read(limited)
		f.must(err != nil && limited.Err() == nil, "%s: the session goes on, %v", name, err)
		cancel()
		_ = ws.CloseNow()
	}
	ws, err := open()
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	b, err := proto.Marshal(&wirev1.NearbyMessage{Message: "\x1b]0;owned\a\x1b[2J\r\u202eevil\u200b\nann: a second line"})
	if err != nil {
		return err
	}
	if err := ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		return err
	}
	f.fine(s.serving.awaits(ctx, "a second line"), "the control: a line is shown")
	out := s.serving.out.bytes()
	f.must(!bytes.ContainsAny(out, "\x1b\a\r\u202e\u200b") && !bytes.HasPrefix(out, []byte("ann: ")) && !bytes.Contains(out, []byte("\nann: ")), "the terminal got %q", out)
	f.must(bytes.Contains(out, []byte("[unverified]")) && !bytes.Contains(out, []byte("never shown")), "shown: %q", out)
	return nil
}

// sumOf is what a file is known by.
func sumOf(b []byte) []byte {
	h := crypto.Sum(b)
	return h[:]
}

// falseShares is a list with an honest file first, and then lies, which are returned by their names.
func falseShares(honest []byte) (list *wirev1.NearbyFiles, lies []string) {
	list = &wirev1.NearbyFiles{Files: []*wirev1.NearbyFile{{Name: "honest.txt", Size: int64(len(honest)), Hash: sumOf(honest)}}}
	for name, f := range map[string]*wirev1.NearbyFile{
		"negative.txt": {Size: -1, Hash: sumOf(honest)}, "nameless": {Size: 3, Hash: []byte("abc")}, "lie.txt": {Size: 4, Hash: random(32)}, "short.txt": {Size: 1 << 40, Hash: random(32)},
		"../../outside.txt": nil, "/tmp/outside.txt": nil, "..": nil, ".hidden": nil, "a\x1b[2Jb": nil, "c\u202etxt.exe": nil, strings.Repeat("n", 300): nil, "mine.txt": nil,
	} {
		if f == nil { // only the name is a lie
			f = &wirev1.NearbyFile{Size: int64(len(honest)), Hash: sumOf(honest)}
		}
		f.Name = name
		list.Files, lies = append(list.Files, f), append(lies, name)
	}
	return list, lies
}

// badShares shares files under names, with sizes and with bytes that are none, as a contact.
func (s *street) badShares(ctx context.Context, f *findings) error {
	mallory, err := s.t.born(ctx)
	if err != nil {
		return err
	}
	if err := s.knows(ctx, s.ann, mallory, "mallory"); err != nil {
		return err
	}
	honest, evil := []byte("an honest file"), []byte("evil and more of it than was listed")
	list, lies := falseShares(honest)
	files, err := proto.Marshal(list)
	if err != nil {
		return err
	}
	answer := files
	peer, err := s.t.answersNearby(mallory.keys, mallory, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/files":
			_, _ = w.Write(answer) // who asked sees whether it came
		case r.URL.Path == "/files/"+hex.EncodeToString(sumOf(honest)):
			_, _ = w.Write(honest)
		case strings.HasPrefix(r.URL.Path, "/files/"):
			_, _ = w.Write(evil)
		}
	}))
	if err != nil {
		return err
	}
	dir := filepath.Join(s.ann.dir, "fetched", "here")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("mine"), 0o600); err != nil {
		return err
	}
	out, err := s.does(ctx, s.ann, "", peer.udp, "fetch", "mallory")
	f.must(err == nil && strings.Contains(out, "honest.txt\t14") && !strings.Contains(out, "outside") && !strings.ContainsAny(out, "\x1b\u202e"), "the list is %q, %v", out, err)
	for _, name := range lies {
		_, err := s.does(ctx, s.ann, "", peer.udp, "fetch", "mallory", name, "--dir", dir)
		f.must(exits(err) > 0, "%q was fetched", name)
	}
	_, err = s.does(ctx, s.ann, "", peer.udp, "fetch", "mallory", "honest.txt", "--dir", dir)
	f.fine(err, "the control: an honest file")
	found := map[string]string{}
	err = filepath.WalkDir(filepath.Dir(dir), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".part") { // what was broken off may go on
			var b []byte
			b, err = os.ReadFile(path)
			found[d.Name()] = string(b)
		}
		return err
	})
	f.must(err == nil && len(found) == 2 && found["mine.txt"] == "mine" && found["honest.txt"] == string(honest), "there are %q, %v", found, err)
	for len(list.Files) < 5000 {
		list.Files = append(list.Files, list.Files[0])
	}
	if answer, err = proto.Marshal(list); err != nil {
		return err
	}
	for _, bad := range [][]byte{answer, random(1000), bytes.Repeat([]byte{0x0a}, 300<<10)} {
		answer = bad
		_, err := s.does(ctx, s.ann, "", peer.udp, "fetch", "mallory")
		f.must(exits(err) > 0, "a list of %d bytes was taken", len(bad))
	}
	return nil
}

func handedOver(ctx context.Context, t *town) error {
	var f findings
	away, err := t.serve(ctx, spec{program: "admaild", name: "away", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick})
	if err != nil {
		return err
	}
	s := &street{t: t}
	if s.ann, err = t.moves(ctx, away); err != nil {
		return err
	}
	if s.bob, err = t.moves(ctx, t.two); err != nil {
		return err
	}
	if err := s.open(ctx, "1s"); err != nil {
		return err
	}
	if _, err := s.bob.adctl(ctx, "allow", s.ann.address.String()); err != nil {
		return err
	}
	away.kill()
	var refs [2]string
	for n, more := range [][]string{nil, {"--expires", "5s"}} {
		out, err := s.does(ctx, s.ann, "over the table", s.at, append([]string{"send", "bob"}, more...)...)
		if err != nil {
			return err
		}
		refs[n] = trimmed(out)
	}
	expires := time.Now().Add(6 * time.Second)
	list, err := s.bob.readBy(ctx)
	f.must(err == nil && named(list, refs[0]) == 1, "the control: bob has %v, %v", list, err)
	// Commands that end without the server, also by a signal, lose nothing of it.
	for range 3 {
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		_, _ = s.ann.adctl(limited, "inbox") // there is no server, or it was killed
		cancel()
	}
	if err := pause(ctx, time.Until(expires)); err != nil {
		return err
	}
	if err := t.start(away); err != nil {
		return err
	}
	// Several commands at once that reach it, and the peer itself.
	var ends [4]error
	var all sync.WaitGroup
	for n := range ends {
		all.Go(func() { _, ends[n] = s.ann.adctl(ctx, "inbox") })
	}
	all.Wait()
	f.fine(errors.Join(ends[:]...), "commands that reach the server")
	f.fine(until(ctx, "what the server says of it", func() bool {
		_, err := s.ann.adctl(ctx, "status", refs[0])
		return err == nil
	}), "the server has not got it")
	_, err = s.ann.adctl(ctx, "status", refs[1])
	f.must(exits(err) > 0, "what had expired was handed over")
	// It comes to bob over servers too, and is there once.
	f.fine(until(ctx, "the letter over servers", func() bool {
		b, err := s.ann.adctl(ctx, "status", refs[0], "--json")
		return err == nil && (strings.Contains(b, `"served"`) || strings.Contains(b, `"fetched"`))
	}), "the letter did not go over servers")
	list, err = s.bob.inbox(ctx)
	f.must(err == nil && named(list, refs[0]) == 1, "bob has %v, %v", list, err)
	for _, m := range list {
		f.must(m["id"] != refs[1] || m["state"] == "expired" && m["body"] == nil, "past its end bob has %v", m)
	}
	return f.all()
}
