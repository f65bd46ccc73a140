package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func callFloods(ctx context.Context, t *town) error {
	var f findings
	// Limits as they are where nobody sets any, but for the rate of calls.
	s, err := t.serve(ctx, spec{program: "admaild", name: "flooded", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: []string{
		"AD_LIVE__CONNECTIONS_PER_ADDRESS=32", "AD_LIVE__SOCKETS_PER_ADDRESS=8", "AD_LIMITS__CALLS_PER_SECOND=50", "AD_LIMITS__CALL_BURST=200",
	}})
	if err != nil {
		return err
	}
	p, err := t.parlour(ctx, s)
	if err != nil {
		return err
	}
	all, err := t.people(ctx, s, s, s)
	if err != nil {
		return err
	}
	mallory, trent, victor := all[0], all[1], all[2]
	in := 0
	for range 12 {
		if _, err := t.sits(ctx, s, mallory.Keys, random(16)); err == nil {
			in++
		}
	}
	f.must(in == 8, "one address has %d sockets", in)
	// Accomplices take calls: they count for who calls, too.
	serving, err := t.sits(ctx, s, trent.Keys, random(16))
	if err != nil {
		return err
	}
	serving.says(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: []string{"x"}}}})
	go serving.takesAll(ctx)
	caller, err := t.sits(ctx, s, victor.Keys, random(16))
	if err != nil {
		return err
	}
	stood, busy, others := 0, 0, map[wirev1.LiveReason]int{}
	var id []byte
	for range 40 {
		name, why, err := caller.calls(ctx, trent.Address(), "x")
		switch {
		case err != nil:
			return fmt.Errorf("call: %w", err)
		case why == 0:
			stood, id = stood+1, name
		case why == wirev1.LiveReason_LIVE_REASON_BUSY:
			busy++
		default:
			others[why]++
		}
	}
	f.must(stood == 32 && busy == 8, "of 40 calls %d stood, %d were too many, others %v", stood, busy, others)
	// Bytes beyond the window, which nobody has given credit for.
	for at := 0; at < 2<<20; at += relay.MaxData {
		caller.says(ctx, dataOf(id, at, make([]byte, relay.MaxData)))
	}
	fr, err := caller.hears(ctx)
	f.must(err == nil && fr.GetClose().GetReason() == wirev1.LiveReason_LIVE_REASON_BROKEN, "beyond the window: %v, %v", fr, err)
	// Thousands of calls to bob, whom none of them reaches.
	flood, err := t.sits(ctx, s, trent.Keys, random(16))
	if err != nil {
		return err
	}
	go flood.hearsAll(ctx)
	for range 5000 {
		flood.says(ctx, callTo(random(16), p.bob.address, "echo"))
	}
	p.well(ctx, &f)
	f.must(p.started() == p.ann.address.String()+"\n", "served: %s", p.started())
	mib, err := resident(s)
	f.must(err == nil && mib < 300, "the server has %d MiB, %v", mib, err)
	return f.all()
}

// takesAll answers every call with yes, and hears nothing else.
func (h *hand) takesAll(ctx context.Context) {
	for {
		f, err := h.hears(ctx)
		if err != nil {
			return
		}
		if c := f.GetCall(); c != nil {
			h.says(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: c.GetConnection()}}})
		}
	}
}

// hearsAll reads until the end.
func (h *hand) hearsAll(ctx context.Context) {
	for {
		if _, err := h.hears(ctx); err != nil {
			return
		}
	}
}

func slowReaders(ctx context.Context, t *town) error {
	var f findings
	s, err := t.serve(ctx, spec{program: "admaild", name: "slow-readers", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick})
	if err != nil {
		return err
	}
	p, err := t.parlour(ctx, s)
	if err != nil {
		return err
	}
	// Accomplices who fill each other's windows, and of whom one reads nothing at all, not even its socket.
	var filling sync.WaitGroup
	defer filling.Wait()
	filled, stop := context.WithCancel(ctx)
	defer stop()
	for range 8 {
		pair, err := t.people(ctx, s, s)
		if err != nil {
			return err
		}
		deaf, err := t.sits(ctx, s, pair[0].Keys, random(16))
		if err != nil {
			return err
		}
		deaf.says(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: []string{"x"}}}})
		if _, err := deaf.hears(ctx); err != nil {
			return err
		}
		loud, err := t.sits(ctx, s, pair[1].Keys, random(16))
		if err != nil {
			return err
		}
		ids := make([][]byte, 8)
		for n := range ids {
			id := random(16)
			ids[n] = id
			loud.says(ctx, callTo(id, pair[0].Address(), "x"))
			c, err := deaf.hears(ctx)
			if err != nil {
				return err
			}
			deaf.says(ctx, &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: c.GetCall().GetConnection()}}})
			if a, err := loud.hears(ctx); err != nil || a.GetAnswer().GetReason() != 0 {
				return errors.Join(fmt.Errorf("accomplices: %v", a), err)
			}
		}
		filling.Go(func() {
			for at := 0; at < relay.Window; at += relay.MaxData {
				for _, id := range ids {
					loud.says(filled, dataOf(id, at, make([]byte, relay.MaxData)))
				}
			}
		})
	}
	// A listener whose process does not read, beside the echo, in the same home.
	mute, err := p.bob.listens(ctx, "mute", "--exec", "exec sleep 600")
	if err != nil {
		return err
	}
	stuck, err := t.begin("adctl", "connect", p.bob.address.String(), "mute", "--home", p.ann.dir)
	if err != nil {
		return err
	}
	go func() {
		for {
			if _, err := stuck.in.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	said := strings.Repeat("quick as ever. ", 100_000)
	for range 3 {
		begun := time.Now()
		heard, err := p.echoes(ctx, said)
		f.must(err == nil && heard == said, "beside slow readers ann heard %d bytes of %d, %v", len(heard), len(said), err)
		f.must(time.Since(begun) < 30*time.Second, "beside slow readers it took %s", time.Since(begun))
	}
	f.must(mute.lives() && stuck.lives(), "the control: who does not read has ended")
	mib, err := resident(s)
	f.must(err == nil && mib < 300, "the server has %d MiB, %v", mib, err)
	stuck.kill()
	mute.kill()
	return f.all()
}

func malformedFrames(ctx context.Context, t *town) error {
	var f findings
	p, mallory, err := t.parlourAndStranger(ctx, t.two)
	if err != nil {
		return err
	}
	short, _ := proto.Marshal(&wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: []byte{1}}}})
	far, _ := proto.Marshal(dataOf(random(16), 1<<62, []byte("x")))
	empty, _ := proto.Marshal(dataOf(random(16), 0, nil))
	for name, bad := range map[string]struct {
		kind websocket.MessageType
		b    []byte
	}{
		"garbage": {websocket.MessageBinary, []byte{0xff, 0xff, 0xff}}, "too large": {websocket.MessageBinary, make([]byte, relay.MaxFrame+1)}, "text": {websocket.MessageText, []byte(`{"ping":{}}`)},
		"a short name": {websocket.MessageBinary, short}, "an offset out of bounds": {websocket.MessageBinary, far}, "data of nothing": {websocket.MessageBinary, empty},
	} {
		h, err := t.sits(ctx, t.two, mallory.Keys, random(16))
		if err != nil {
			return err
		}
		_ = h.ws.Write(ctx, bad.kind, bad.b) // the socket may be closed meanwhile
		fr, err := h.hears(ctx)
		f.must(err != nil && ctx.Err() == nil, "%s: went on with %v", name, fr)
	}
	// Before the hello, and in the other form.
	for form, text := range map[string]string{relay.Text: `{"hello":{"session":"AAAA"}}`, relay.Binary: "\x00"} {
		ws, err := t.socket(ctx, t.two, form)
		if err != nil {
			return err
		}
		_ = ws.Write(ctx, map[string]websocket.MessageType{relay.Text: websocket.MessageText, relay.Binary: websocket.MessageBinary}[form], []byte(text)) // as above
		_, _, err = ws.Read(ctx)
		f.must(err != nil, "%s: a hello that is none was heard", form)
	}
	p.well(ctx, &f)
	return f.all()
}

func brokenSockets(ctx context.Context, t *town) error {
	var f findings
	p, m, err := t.meddledParlour(ctx, "breaking-network")
	if err != nil {
		return err
	}
	const breaks, each = 5, 700 << 10
	passed := 0
	var breaking sync.WaitGroup
	m.does(func(_ bool, fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
		before := passed / each
		if passed += len(fr.GetData().GetBytes()); passed/each > before && before < breaks {
			breaking.Go(m.breaks)
		}
		return []*wirev1.LiveFrame{fr}
	})
	said := strings.Repeat("nothing is lost. ", 120_000)
	heard, err := p.echoes(ctx, said)
	m.does(nil)
	breaking.Wait()
	f.must(err == nil && heard == said, "%d bytes came back of %d, %v", len(heard), len(said), err)
	m.mu.Lock()
	f.must(len(m.hellos) > 2*breaks, "the control: there were only %d sockets", len(m.hellos))
	m.mu.Unlock()
	p.well(ctx, &f)
	return f.all()
}

func hostileBeams(ctx context.Context, t *town) error {
	var f findings
	p, err := t.parlour(ctx, t.two)
	if err != nil {
		return err
	}
	dir := filepath.Join(p.bob.dir, "beams", "here")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mine := filepath.Join(dir, "mine.txt")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		return err
	}
	taking, err := p.bob.listens(ctx, "beam", "--into", dir)
	if err != nil {
		return err
	}
	l, err := t.line(ctx, t.two, p.ann.keys, relay.LineConfig{})
	if err != nil {
		return err
	}
	zero := strings.Repeat("A", 43) + "="
	for name, offer := range map[string]string{
		"outside": `{"name":"../../outside","size":4,"hash":"` + zero + `"}`, "absolute": `{"name":"/tmp/outside","size":4,"hash":"` + zero + `"}`,
		"over a file": `{"name":"mine.txt","size":4,"hash":"` + zero + `"}`, "other bytes": `{"name":"lie","size":4,"hash":"` + zero + `"}`,
		"less than nothing": `{"name":"less","size":-1,"hash":"` + zero + `"}`, "no hash": `{"name":"no","size":4}`, "no object": `[`, "a name that deceives": `{"name":"a\u202etxt.exe\u001b[2J","size":4,"hash":"` + zero + `"}`,
	} {
		s, err := l.Call(ctx, p.bob.address, "beam", nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c, err := relay.Secure(ctx, s, relay.Ends{Keyring: p.ann.keys, Peer: p.bob.keys.Chain, Caller: true, Rand: crand.Reader})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_ = c.WriteMessage([]byte(offer))
		_, _ = c.Write([]byte("evil and much more of it than was offered"))
		for err = nil; err == nil; {
			var b []byte
			if b, err = c.ReadMessage(); err == nil && bytes.Contains(b, []byte(`"done":true`)) {
				f.must(false, "%s: it was taken", name)
			}
		}
		_ = c.Close()
	}
	b, err := os.ReadFile(mine)
	f.must(err == nil && string(b) == "mine", "a file is now %q, %v", b, err)
	var left []string
	err = filepath.WalkDir(filepath.Dir(dir), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != mine {
			left = append(left, filepath.Base(path))
		}
		return err
	})
	f.must(err == nil && len(left) == 0, "left behind: %q, %v", left, err)
	f.must(taking.lives() && !bytes.ContainsAny(taking.said.bytes(), "\x1b\u202e"), "the listener: %q", taking.said.bytes())
	// The control: an honest one arrives.
	honest, err := t.file("honest.txt", "honest")
	if err != nil {
		return err
	}
	_, err = p.ann.adctl(ctx, "beam", p.bob.address.String(), honest)
	f.fine(err, "an honest beam")
	b, err = os.ReadFile(filepath.Join(dir, "honest.txt"))
	f.must(err == nil && string(b) == "honest", "the honest beam is %q, %v", b, err)
	return f.all()
}
