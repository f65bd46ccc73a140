package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/relay"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func called(id []byte, to message.Address, protocol string) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, To: to.Bytes(), Protocol: protocol}}}
}

func serves(protocols ...string) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Serve{Serve: &wirev1.LiveServe{Protocols: protocols}}}
}

func answers(id []byte, why wirev1.LiveReason) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Answer{Answer: &wirev1.LiveAnswer{Connection: id, Reason: why}}}
}

func carries(id []byte, at uint64, b []byte) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: &wirev1.LiveData{Connection: id, Offset: at, Bytes: b}}}
}

func credits(id []byte, at uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Credit{Credit: &wirev1.LiveCredit{Connection: id, Consumed: at}}}
}

func closes(id []byte, why wirev1.LiveReason, at uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Close{Close: &wirev1.LiveClose{Connection: id, Reason: why, Offset: at}}}
}

func resumes(id []byte, at uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Resume{Resume: &wirev1.LiveResume{Connection: id, Received: at}}}
}

func turns(id []byte, step int32, received, consumed uint64) *wirev1.LiveFrame {
	return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Direct{Direct: &wirev1.LiveDirect{Connection: id, Step: wirev1.LiveStep(step), Received: received, Consumed: consumed}}}
}

// unsound are frames whose sizes or forms are wrong: each must end the socket.
func unsound() map[string]*wirev1.LiveFrame {
	id, short, long := random(16), random(15), random(17)
	bulk := &wirev1.Identity{Cards: []*wirev1.Signed{{Body: make([]byte, 41<<10)}}}
	all := map[string]*wirev1.LiveFrame{
		"data of nothing": carries(id, 0, nil), "data of 32 KiB and 1": carries(id, 0, make([]byte, relay.MaxData+1)), "data at 2^62": carries(id, 1<<62, []byte("a")), "data at 2^64-1": carries(id, 1<<64-1, []byte("a")),
		"credit of 2^62": credits(id, 1<<62), "credit of 2^64-1": credits(id, 1<<64-1), "close at 2^63": closes(id, 1, 1<<63), "resume at 2^63": resumes(id, 1<<63), "turn at 2^63": turns(id, 2, 1<<63, 1<<63), "turn, consumed and not received": turns(id, 2, 1, 2), "turn beyond the window": turns(id, 2, relay.Window+1, 0),
		"call without a protocol": called(id, message.Address{}, ""), "call of 65 characters": called(id, message.Address{}, strings.Repeat("a", 65)), "call with a space": called(id, message.Address{}, "a b"), "call with an escape": called(id, message.Address{}, "\x1b[2J"), "call of another writing": called(id, message.Address{}, "\u202eohce"), "call with zero": called(id, message.Address{}, "a\x00b"),
		"65 protocols": serves(strings.Split(strings.Repeat("a,", 64)+"a", ",")...), "a protocol of nothing": serves("a", ""), "a protocol of a line feed": serves("a\nb"),
		"a call with 41 KiB of cards": {Kind: &wirev1.LiveFrame_Call{Call: &wirev1.LiveCall{Connection: id, Protocol: "a", Bundle: bulk}}}, "a hello with 41 KiB of cards": {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: id, Bundle: bulk}}},
		"a hello with a short session": {Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: short}}},
	}
	for name, b := range map[string][]byte{"no name": nil, "a short name": short, "a long name": long, "a name of 10,000 bytes": random(10_000)} {
		all["call, "+name], all["answer, "+name], all["data, "+name], all["credit, "+name] = called(b, message.Address{}, "a"), answers(b, 0), carries(b, 0, []byte("a")), credits(b, 1)
		all["close, "+name], all["resume, "+name], all["turn, "+name] = closes(b, 1, 0), resumes(b, 0), turns(b, 1, 0, 0)
	}
	return all
}

// hellos are hellos that are not welcome.
func (v *relayed) hellos() map[string]*wirev1.LiveFrame {
	k, other := v.crooks[0], v.crooks[1]
	cards := &wirev1.Identity{Cards: k.Chain.Signed(0)}
	ours, err := message.SignAccess(k.Chain, v.server, time.Now(), 10*time.Minute, k.Signer)
	elsewhere, err2 := message.SignAccess(k.Chain, v.bob.Address(), time.Now(), 10*time.Minute, k.Signer)
	old, err3 := message.SignAccess(k.Chain, v.server, time.Now().Add(-time.Hour), time.Minute, k.Signer)
	ahead, err4 := message.SignAccess(k.Chain, v.server, time.Now().Add(time.Hour), time.Minute, k.Signer)
	forged, err5 := message.SignAccess(v.bob.Keys.Chain, v.server, time.Now(), 10*time.Minute, k.Signer)
	if errors.Join(err, err2, err3, err4, err5) != nil {
		return nil // the control has not been welcome either
	}
	hello := func(session []byte, access string, who *wirev1.Identity) *wirev1.LiveFrame {
		return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: session, Authorization: access, Bundle: who}}}
	}
	swapped := &wirev1.Identity{Cards: other.Chain.Signed(0)}
	many := &wirev1.Identity{}
	for len(many.GetCards()) < 100 {
		many.Cards = append(many.GetCards(), k.Chain.Signed(0)...)
	}
	id := random(16)
	return map[string]*wirev1.LiveFrame{
		"without an access": hello(id, "", cards), "with another server's": hello(id, elsewhere, cards), "with an old one": hello(id, old, cards), "with one from the future": hello(id, ahead, cards), "in bob's name": hello(id, forged, nil), "in bob's name, with cards": hello(id, forged, cards),
		"with another's cards": hello(id, ours, swapped), "with no cards": hello(id, ours, &wirev1.Identity{}), "with the same card 100 times": hello(id, ours, many), "altered": hello(id, ours[:len(ours)-4]+"AAAA", cards), "twice the access": hello(id, ours+", "+ours, cards), "half the access": hello(id, ours[:len(ours)/2], cards),
		"as a bearer": hello(id, strings.Replace(ours, "Airdispatch", "Bearer", 1), cards), "with an access of 60,000 bytes": hello(id, "Airdispatch "+strings.Repeat("A", 60_000), cards), "with an escape": hello(id, "Airdispatch \x1b[2J", cards), "without a session": hello(nil, ours, cards), "with a session of 17 bytes": hello(random(17), ours, cards),
		"that is none, a call": called(id, v.bob.Address(), "echo"), "that is none, a ping": {Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}, "that is none, a welcome": {Kind: &wirev1.LiveFrame_Welcome{Welcome: &wirev1.LiveWelcome{Address: v.bob.Address().Bytes()}}}, "that is none, nothing": {}, "that is none, serve": serves("echo"),
	}
}

// streams are frames about connections that are somebody else's, or nobody's, and floods of those that
// are allowed.
func (v *relayed) streams() map[string][]*wirev1.LiveFrame {
	id := random(16)
	many := func(n int, f func(n int) *wirev1.LiveFrame) (out []*wirev1.LiveFrame) {
		for i := range n {
			out = append(out, f(i))
		}
		return out
	}
	ping := &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Ping{Ping: &wirev1.LivePing{}}}
	return map[string][]*wirev1.LiveFrame{
		"frames of no connection": {answers(id, 0), carries(id, 0, []byte("a")), credits(id, 1), closes(id, 1, 0), closes(id, 99, 0), resumes(id, 0), turns(id, 1, 0, 0), turns(id, 2, 0, 0), turns(id, 3, 0, 0), turns(id, 77, 0, 0)},
		"calls to bob":            many(200, func(int) *wirev1.LiveFrame { return called(random(16), v.bob.Address(), "echo") }), "one call 200 times": many(200, func(int) *wirev1.LiveFrame { return called(id, v.bob.Address(), "echo") }),
		"calls to nobody": many(500, func(int) *wirev1.LiveFrame { return called(random(16), v.server, "echo") }), "calls to no address": many(200, func(int) *wirev1.LiveFrame { return called(random(16), message.Address{}, "echo") }), "calls of other protocols": many(200, func(n int) *wirev1.LiveFrame { return called(random(16), v.bob.Address(), fmt.Sprint("echo-", n)) }),
		"calls to oneself": many(100, func(int) *wirev1.LiveFrame { return called(random(16), v.crooks[0].Address(), "a") }), "a stranger who serves": many(300, func(n int) *wirev1.LiveFrame { return serves("echo", fmt.Sprint("p", n)) }), "3,000 pings": many(3000, func(int) *wirev1.LiveFrame { return ping }),
		"what only servers say": {{Kind: &wirev1.LiveFrame_Welcome{Welcome: &wirev1.LiveWelcome{}}}, {Kind: &wirev1.LiveFrame_Serving{Serving: &wirev1.LiveServing{}}}, {Kind: &wirev1.LiveFrame_Refusal{Refusal: &wirev1.Refusal{}}}, {Kind: &wirev1.LiveFrame_Pong{Pong: &wirev1.LivePing{}}}}, "frames of no kind": many(500, func(int) *wirev1.LiveFrame { return &wirev1.LiveFrame{} }),
		"a second hello": {{Kind: &wirev1.LiveFrame_Hello{Hello: &wirev1.LiveHello{Session: random(16)}}}}, "closes without end": many(1000, func(int) *wirev1.LiveFrame { return closes(random(16), 1, 0) }), "credit without end": many(1000, func(n int) *wirev1.LiveFrame { return credits(id, uint64(n)) }), "turns without end": many(1000, func(n int) *wirev1.LiveFrame { return turns(id, int32(n%4), 0, 0) }),
		"bytes for nobody": many(100, func(n int) *wirev1.LiveFrame {
			return carries(id, uint64(n)*relay.MaxData, make([]byte, relay.MaxData))
		}),
	}
}

// lied is what the caller of a connection that stands may say on it, given its name: the connection
// may end, and not the relay.
func lied() map[string]func(id []byte) []*wirev1.LiveFrame {
	kib := make([]byte, relay.MaxData)
	beyond := func(id []byte) (out []*wirev1.LiveFrame) {
		for at := uint64(0); at < 2*relay.Window; at += relay.MaxData {
			out = append(out, carries(id, at, kib))
		}
		return out
	}
	return map[string]func(id []byte) []*wirev1.LiveFrame{
		"bytes beyond the window": beyond, "a gap": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{carries(id, 0, kib), carries(id, 1<<40, kib)}
		}, "bytes again": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{carries(id, 0, kib), carries(id, 0, kib), carries(id, 7, kib), carries(id, 1, []byte("a"))}
		},
		"credit for what was not said": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{credits(id, 1<<61), credits(id, 1), carries(id, 0, kib)}
		}, "a close beyond the end": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{closes(id, 1, 1<<40), carries(id, 0, kib)}
		},
		"a close and bytes": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{closes(id, 1, 0), carries(id, 0, kib), closes(id, 1, 0), closes(id, 5, 0)}
		}, "reasons that are none": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{closes(id, 0, 0), closes(id, 12345, 0), closes(id, -1, 0)}
		},
		"an answer of one's own": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{answers(id, 0), answers(id, 4), answers(id, 99)}
		}, "taking up what was not lost": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{resumes(id, 0), resumes(id, 1<<61), resumes(id, 5), carries(id, 0, kib)}
		},
		"leaving and coming back": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{turns(id, 1, 0, 0), carries(id, 0, kib), turns(id, 2, 0, 0), turns(id, 2, 1<<40, 1<<40), turns(id, 3, 0, 0), turns(id, 1, 0, 0), credits(id, 1)}
		},
		"coming back without leaving": func(id []byte) []*wirev1.LiveFrame {
			return []*wirev1.LiveFrame{turns(id, 3, 0, 0), turns(id, 2, 1<<61, 1<<61), turns(id, 0, 0, 0)}
		},
	}
}

// lies has somebody with an account take a call of an accomplice, who then lies: both still have
// their sockets afterwards, or the liar's alone has ended.
func (v *relayed) lies(ctx context.Context, f form, lie func(id []byte) []*wirev1.LiveFrame) error {
	callee, err := v.welcomed(ctx, f, v.mallory.Keys)
	if err != nil {
		return err
	}
	defer callee.Close()
	protocol := fmt.Sprintf("p%x", random(8)) // the call shall come here
	if _, err := io.WriteString(callee, f.says(serves(protocol))); err != nil {
		return err
	}
	if got, err := callee.frame(f); err != nil || got.GetServing() == nil {
		return fmt.Errorf("does not serve: %v, %w", got, err)
	}
	caller, err := v.welcomed(ctx, f, v.crook())
	if err != nil {
		return err
	}
	defer caller.Close()
	id := random(16)
	if _, err := io.WriteString(caller, f.says(called(id, v.mallory.Address(), protocol))); err != nil {
		return err
	}
	for got := (*wirev1.LiveFrame)(nil); got.GetCall() == nil; {
		if got, err = callee.frame(f); err != nil {
			return fmt.Errorf("no call: %w", err)
		}
	}
	if _, err := io.WriteString(callee, f.says(answers(id, 0))); err != nil {
		return err
	}
	for {
		got, err := caller.frame(f)
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		if a := got.GetAnswer(); a != nil && bytes.Equal(a.GetConnection(), id) {
			break
		}
	}
	if _, err := caller.goes(f.says(lie(id)...)); err != nil {
		return err
	}
	on, err := callee.goes("")
	if !on && err == nil {
		err = errors.New("whom was lied to has lost the socket")
	}
	return err
}
