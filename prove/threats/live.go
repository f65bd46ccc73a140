package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func liveRows() []row {
	return []row{
		{"L1", "strangers who call a listener for contacts are refused before anything is started for them, and blocked ones find nobody", strangersCall},
		{"L2", "what passes a relay is of no use to it", relayReads},
		{"L3", "a relay that gives a caller another name, or a call to somebody else, brings nobody together", relaySwaps},
		{"L4", "a relay that alters, repeats, reorders, injects or cuts ends a connection, and the reader has a true beginning and knows", relayLies},
		{"L5", "who knows the name of a connection, and of its session, can neither speak on it, nor end it, nor take it up", intruders},
		{"L6", "floods of calls, sockets and bytes meet limits, and others are served", callFloods},
		{"L7", "readers that do not read hold up who writes to them, and nobody else", slowReaders},
		{"L8", "what is no frame costs its sender the socket", malformedFrames},
		{"L9", "sockets that break again and again lose no byte", brokenSockets},
		{"L10", "a beam writes nothing outside its directory, over nothing, and nothing else than was offered", hostileBeams},
	}
}

func strangersCall(ctx context.Context, t *town) error {
	var f findings
	p, mallory, err := t.parlourAndStranger(ctx, t.two)
	if err != nil {
		return err
	}
	m, err := t.sits(ctx, t.two, mallory.Keys, random(16))
	if err != nil {
		return err
	}
	for what, c := range map[string]struct {
		protocol string
		want     wirev1.LiveReason
	}{
		"a stranger": {"echo", wirev1.LiveReason_LIVE_REASON_REFUSED}, "another protocol": {"ssh", wirev1.LiveReason_LIVE_REASON_UNKNOWN_PROTOCOL},
	} {
		_, why, err := m.calls(ctx, p.bob.address, c.protocol)
		f.must(err == nil && why == c.want, "%s: %s, %v", what, why, err)
	}
	if _, err := p.bob.adctl(ctx, "block", mallory.Address().String()); err != nil {
		return err
	}
	_, blocked, err := m.calls(ctx, p.bob.address, "echo")
	_, nobody, err2 := m.calls(ctx, mallory.Address(), "echo")
	f.must(errors.Join(err, err2) == nil && blocked == nobody && nobody == wirev1.LiveReason_LIVE_REASON_NOT_ONLINE,
		"who is blocked hears %s, and where nobody is %s: %v", blocked, nobody, errors.Join(err, err2))
	// Without an Access, with one for another server, and with that of somebody else whose key one has not.
	other, err := access(mallory.Keys, t.one)
	if err != nil {
		return err
	}
	hers, err := access(p.ann.keys, t.two)
	if err != nil {
		return err
	}
	for what, signed := range map[string]string{"no access": "", "another server's": other, "one that was altered": hers[:len(hers)-4] + "AAAA"} {
		ws, err := t.socket(ctx, t.two, relay.Binary)
		if err != nil {
			return err
		}
		err = (&hand{ws}).greets(ctx, signed, random(16), &wirev1.Identity{Cards: p.ann.keys.Chain.Signed(0)})
		f.must(err != nil, "%s is welcome", what)
	}
	f.must(p.started() == "", "somebody was served: %s", p.started())
	p.well(ctx, &f)
	f.must(p.started() == p.ann.address.String()+"\n", "the process heard that the caller is %q", p.started())
	return f.all()
}

func relayReads(ctx context.Context, t *town) error {
	var f findings
	p, m, err := t.meddledParlour(ctx, "reading-relay")
	if err != nil {
		return err
	}
	said := strings.Repeat("only for bob to hear; ", 1000)
	heard, err := p.echoes(ctx, said)
	f.must(err == nil && heard == said, "the control: %d bytes came back of %d, %v", len(heard), len(said), err)
	passed := m.seen.bytes()
	f.must(len(passed) > 4*len(said), "the control: only %d bytes passed", len(passed))
	for _, secret := range []string{"only for", "bob to hear", "airdispatch"} { // the last is in certificates
		f.must(!bytes.Contains(passed, []byte(secret)), "the relay saw %q", secret)
	}
	f.must(bytes.Contains(passed, []byte("echo")), "the control: not even the protocol's name was seen")
	return f.all()
}

// answers serves a protocol in somebody's name, with their own keys.
func (t *town) answers(ctx context.Context, s *server, k *message.Keyring, peer *message.Chain) error {
	serving := make(chan struct{}, 1)
	_, err := t.line(ctx, s, k, relay.LineConfig{
		Protocols: []string{"echo"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			c, err := relay.Secure(ctx, in.Accept(), relay.Ends{Keyring: k, Peer: peer, Rand: crand.Reader})
			if err == nil {
				_, _ = c.Write([]byte("believe me")) // who listens will say what came
				_ = c.Close()
			}
		},
	})
	if err != nil {
		return err
	}
	select {
	case <-serving:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func relaySwaps(ctx context.Context, t *town) error {
	var f findings
	p, m, err := t.meddledParlour(ctx, "swapping-relay")
	if err != nil {
		return err
	}
	mallory, err := t.person(ctx, p.server)
	if err != nil {
		return err
	}
	// Mallory calls, and the relay says that it is ann.
	m.does(func(toClient bool, fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
		if c := fr.GetCall(); c != nil && toClient {
			c.From, c.Bundle = p.ann.address.Bytes(), nil
		}
		return []*wirev1.LiveFrame{fr}
	})
	l, err := t.line(ctx, p.server, mallory.Keys, relay.LineConfig{})
	if err != nil {
		return err
	}
	s, err := l.Call(ctx, p.bob.address, "echo", nil)
	f.fine(err, "the control: the call arrives")
	if err == nil {
		c, err := relay.Secure(ctx, s, relay.Ends{Keyring: mallory.Keys, Peer: p.bob.keys.Chain, Caller: true, Rand: crand.Reader})
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // a TLS client learns of a refusal when it reads
		}
		f.must(err != nil, "bob has talked with mallory for ann")
	}
	f.must(p.started() == "", "something was started for %s", p.started())
	// Ann calls bob, and the relay gives the call to mallory.
	if err := t.answers(ctx, p.server, mallory.Keys, p.ann.keys.Chain); err != nil {
		return err
	}
	m.does(func(toClient bool, fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
		if c := fr.GetCall(); c != nil && !toClient {
			c.To = mallory.Address().Bytes()
		}
		return []*wirev1.LiveFrame{fr}
	})
	heard, err := p.echoes(ctx, "a secret")
	f.must(exits(err) == 6 && heard == "", "ann heard %q of somebody else, %v", heard, err)
	m.does(nil)
	p.well(ctx, &f)
	return f.all()
}

// lies are what a relay may do to the data that goes to a reader.
func lies() map[string]func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
	var held *wirev1.LiveFrame
	return map[string]func(*wirev1.LiveFrame) []*wirev1.LiveFrame{
		"alters": func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			b := fr.GetData().GetBytes()
			b[len(b)/2] ^= 1
			return []*wirev1.LiveFrame{fr}
		},
		"reorders": func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			if held == nil {
				held = fr
				return nil
			}
			first, d, was := held, fr.GetData(), held.GetData()
			held = nil
			at := was.GetOffset() // each in the other's place
			d.Offset, was.Offset = at, at+uint64(len(d.GetBytes()))
			return []*wirev1.LiveFrame{fr, first}
		},
		"repeats": func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			d := fr.GetData()
			again := proto.Clone(fr).(*wirev1.LiveFrame)
			again.GetData().Offset = d.GetOffset() + uint64(len(d.GetBytes()))
			return []*wirev1.LiveFrame{fr, again}
		},
		"injects": func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			fr.GetData().Bytes = append(fr.GetData().GetBytes()[:100:100], bytes.Repeat([]byte{23}, 100)...)
			return []*wirev1.LiveFrame{fr}
		},
		"cuts": func(fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			d := fr.GetData()
			c := closeOf(d.GetConnection(), wirev1.LiveReason_LIVE_REASON_DONE)
			c.GetClose().Offset = d.GetOffset()
			return []*wirev1.LiveFrame{c}
		},
	}
}

func relayLies(ctx context.Context, t *town) error {
	var f findings
	p, m, err := t.meddledParlour(ctx, "lying-relay")
	if err != nil {
		return err
	}
	said := strings.Repeat("a true word. ", 30_000)
	for name, lie := range lies() {
		n := 0
		m.does(func(toClient bool, fr *wirev1.LiveFrame) []*wirev1.LiveFrame {
			if !toClient || len(fr.GetData().GetBytes()) < 10_000 { // the handshake goes through
				return []*wirev1.LiveFrame{fr}
			}
			if n++; n <= 4 {
				return []*wirev1.LiveFrame{fr}
			}
			return lie(fr)
		})
		before := p.started()
		heard, err := p.echoes(ctx, said)
		f.must(exits(err) > 0 && strings.HasPrefix(said, heard) && len(heard) < len(said), "%s: ann heard %d bytes of %d, %v", name, len(heard), len(said), err)
		f.must(p.started() != before, "%s: the control: nothing was started", name)
	}
	m.does(nil)
	p.well(ctx, &f)
	return f.all()
}

func intruders(ctx context.Context, t *town) error {
	var f findings
	p, m, err := t.meddledParlour(ctx, "talking-relay")
	if err != nil {
		return err
	}
	mallory, err := t.person(ctx, p.server)
	if err != nil {
		return err
	}
	ann, err := t.begin("adctl", "connect", p.bob.address.String(), "echo", "--home", p.ann.dir)
	if err != nil {
		return err
	}
	if _, err := ann.in.Write([]byte("first\n")); err != nil {
		return err
	}
	if err := ann.awaits(ctx, "first\n"); err != nil {
		return err
	}
	// What the operator knows: the name of the connection, and the sessions of both.
	m.mu.Lock()
	id, hellos := m.ids[len(m.ids)-1], m.hellos
	m.mu.Unlock()
	for _, hello := range hellos {
		h, err := t.sits(ctx, p.server, mallory.Keys, hello.GetSession())
		if err != nil {
			return err
		}
		for _, fr := range []*wirev1.LiveFrame{
			{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id, Received: 0}}}, dataOf(id, 0, []byte("injected")), dataOf(id, 1<<20, []byte("injected")),
			closeOf(id, wirev1.LiveReason_LIVE_REASON_GONE), closeOf(id, wirev1.LiveReason_LIVE_REASON_DONE),
			{Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id, Consumed: 1 << 40}}},
			{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id, Reason: wirev1.LiveReason_LIVE_REASON_REFUSED}}},
		} {
			h.says(ctx, fr)
			got, err := h.hears(ctx)
			f.must(err == nil && got.GetClose().GetReason() == wirev1.LiveReason_LIVE_REASON_GONE, "%T: answered %v, %v", fr.GetKind(), got, err)
		}
		// A call under a name that is taken.
		h.says(ctx, callTo(id, p.bob.address, "echo"))
		got, err := h.hears(ctx)
		f.must(err == nil && got.GetAnswer().GetReason() == wirev1.LiveReason_LIVE_REASON_BROKEN, "a call of the same name: %v, %v", got, err)
	}
	if _, err := ann.in.Write([]byte("second\n")); err != nil {
		return err
	}
	f.fine(ann.in.Close(), "end of input")
	select {
	case <-ann.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.must(ann.cmd.ProcessState.ExitCode() == 0 && string(ann.out.bytes()) == "first\nsecond\n", "ann heard %q and ended with %d: %s", ann.out.bytes(), ann.cmd.ProcessState.ExitCode(), ann.said.bytes())
	return f.all()
}
