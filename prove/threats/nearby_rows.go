package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func nearbyRows() []row {
	return []row{
		{"B4", "datagrams, lists and ports that others name make a peer connect to no door but that of who speaks", knocksNowhere},
		{"B1", "who has other keys connects in nobody's name and answers in nobody's, and learns neither who is hidden nor what is served", otherKeys},
		{"B2", "a way that cuts, alters or repeats leaves a true beginning, and both ends know", bentWay},
		{"B3", "floods of connections meet limits of a caller, of a host and in all, and others are served", doorFloods},
		{"B5", "nobody is driven out by who says to be there, and who has gone is forgotten", drivenOut},
		{"B6", "malformed lines, lists, letters and requests end no peer, leave no letter and no file", malformedNearby},
		{"B7", "a letter that a server never had is handed over once that is there, and once only", handedOver},
	}
}

// echoing has bob serve an echo that notes who calls.
func (t *town) echoing(ctx context.Context, flags ...string) (s *street, started func() string, err error) {
	note, err := t.file(fmt.Sprintf("ran-%x", random(4)), "")
	if err != nil {
		return nil, nil, err
	}
	s, err = t.street(ctx, "1s", append(flags, "--exec", "echo=echo $ADCTL_PEER >>'"+note+"'; exec cat")...)
	return s, func() string {
		b, err := os.ReadFile(note)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}, err
}

// upgrade are the headers of somebody who wants a connection.
func upgrade(protocol string) []string {
	return []string{"Connection", "Upgrade", "Upgrade", "airdispatch-connection", "Airdispatch-Protocol", protocol}
}

func otherKeys(ctx context.Context, t *town) error {
	var f findings
	s, started, err := t.echoing(ctx)
	if err != nil {
		return err
	}
	mallory, err := t.born(ctx)
	if err != nil {
		return err
	}
	// Somebody who does not know whose address it is.
	list, err := s.does(ctx, mallory, "", s.at, "list")
	f.must(err == nil && strings.Contains(list, s.at) && !strings.Contains(list, s.bob.address.String()), "a stranger sees %q, %v", list, err)
	for _, name := range []string{"", "peer.invalid", knock(mallory.address), knock(s.ann.address)} {
		c, err := pinned(ctx, s.at, name, "127.0.0.1", mallory.keys)
		f.must(err != nil, "a hidden peer shows its device to %q", name)
		if err == nil {
			_ = c.Close()
		}
	}
	// Somebody who does, and is not admitted: what is served and what is not are the same to them.
	if err := s.knows(ctx, mallory, s.bob, "bob"); err != nil {
		return err
	}
	words := map[string]bool{}
	for _, protocol := range []string{"echo", "none"} {
		_, err := s.does(ctx, mallory, "hello", s.at, "connect", "bob", protocol)
		f.must(exits(err) == 4, "a stranger who asks for %s: %v", protocol, err)
		words[strings.ReplaceAll(fmt.Sprint(err), protocol, "PROTO")] = true
	}
	f.must(len(words) == 1, "a stranger can tell what is served: %v", words)
	if err := s.asInNamesOf(ctx, &f, mallory); err != nil {
		return err
	}
	f.must(started() == "", "somebody was served: %s", started())
	// Somebody who answers for bob, first for who does not know his cards, and then for who does.
	first, err := s.impostor(mallory)
	if err != nil {
		return err
	}
	_, err = s.does(ctx, s.ann, "a secret", first.udp, "connect", "bob", "echo")
	f.must(exits(err) != 0 && first.came.Load() > 0, "ann has talked with mallory for bob, or has not come (%d): %v", first.came.Load(), err)
	s.well(ctx, &f)
	f.must(started() == s.ann.address.String()+"\n", "the process heard that the caller is %q", started())
	came := first.came.Load()
	for _, do := range [][]string{{"connect", "bob", "echo"}, {"chat", "bob"}, {"send", "bob"}, {"fetch", "bob", "file"}} {
		_, err = s.does(ctx, s.ann, "a secret", first.udp, do...)
		f.must(exits(err) != 0, "%s: ann has talked with mallory for bob: %v", do[0], err)
	}
	f.must(first.came.Load() >= came+4, "the control: only %d came to who answers for bob", first.came.Load()-came)
	f.must(first.said.Load() == 0, "who answers for bob heard %d requests of ann's", first.said.Load())
	// The control of what was written by hand: ann herself is heard so.
	for path, want := range map[string]int{"/files": 200, "/connection": 101} {
		status, err := s.asks(ctx, s.ann.keys, s.ann.address, "GET", path, nil, upgrade("echo")...)
		f.must(err == nil && status == want, "the control: %s answers ann %d, %v", path, status, err)
	}
	return f.all()
}

// asInNamesOf asks for everything that there is with mallory's device, in several names, and with none.
func (s *street) asInNamesOf(ctx context.Context, f *findings, mallory *home) error {
	sealed, err := letter(mallory.keys, nil, "in somebody else's name", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	brought, err := proto.Marshal(&wirev1.NearbyLetter{Heads: []*wirev1.Signed{sealed.Head.Signed}, Slot: slotOf(sealed, s.bob.address), Payload: sealed.Payload})
	if err != nil {
		return err
	}
	for what, c := range map[string]struct {
		keys *message.Keyring
		as   message.Address
	}{"a stranger": {mallory.keys, mallory.address}, "ann by mallory": {mallory.keys, s.ann.address}, "bob by mallory": {mallory.keys, s.bob.address}, "ann by nobody": {nil, s.ann.address}} {
		cards := cardsOf(mallory.keys)
		if c.as == s.ann.address {
			cards = cardsOf(s.ann.keys)
		}
		for _, r := range []struct {
			method, path string
			body         []byte
		}{
			{"GET", "/ping", nil}, {"GET", "/files", nil}, {"GET", "/peers", nil}, {"GET", "/connection", nil}, {"PUT", "/cards", cards},
			{"GET", "/files", nil}, {"GET", "/connection", nil}, {"POST", "/letters", brought}, {"GET", "/files/" + strings.Repeat("00", 32), nil},
		} {
			status, err := s.asks(ctx, c.keys, c.as, r.method, r.path, r.body, upgrade("echo")...)
			f.must(err == nil && status >= 400, "%s: %s %s: %d, %v", what, r.method, r.path, status, err)
		}
	}
	return nil
}

func bentWay(ctx context.Context, t *town) error {
	var f findings
	note, err := t.file(fmt.Sprintf("whole-%x", random(4)), "")
	if err != nil {
		return err
	}
	s, err := t.street(ctx, "1s", "--exec", "echo=exec cat", "--exec", "long=yes 'a true word' | head -c 3000000", "--exec", "sink=cat >/dev/null && echo whole >>'"+note+"'")
	if err != nil {
		return err
	}
	way, err := s.bends()
	if err != nil {
		return err
	}
	whole := func() int {
		b, err := os.ReadFile(note)
		if err != nil {
			return -1
		}
		return bytes.Count(b, []byte("whole"))
	}
	said := strings.Repeat("a true word\n", 250_000)
	heard, err := s.does(ctx, s.ann, "", way.udp, "connect", "bob", "long")
	f.must(err == nil && heard == said, "the control: this way %d bytes of %d came, %v", len(heard), len(said), err)
	_, err = s.does(ctx, s.ann, said, way.udp, "connect", "bob", "sink")
	f.must(err == nil && whole() == 1, "the control: this way what ann said was whole %d times, %v", whole(), err)
	for name, lie := range map[string]func(b []byte) ([]byte, bool){
		"cuts":    func([]byte) ([]byte, bool) { return nil, true },
		"alters":  func(b []byte) ([]byte, bool) { b[len(b)/2] ^= 1; return b, false },
		"repeats": func(b []byte) ([]byte, bool) { return append(b, b...), false },
		"drops":   func(b []byte) ([]byte, bool) { return b[:len(b)/2], false },
	} {
		way.does(func(toCaller bool, b []byte) ([]byte, bool) {
			if toCaller {
				return lie(b)
			}
			return b, false
		})
		heard, err := s.does(ctx, s.ann, "", way.udp, "connect", "bob", "long")
		f.must(exits(err) > 0 && len(heard) > straight/2 && len(heard) < len(said) && strings.HasPrefix(said, heard), "%s: ann heard %d bytes of %d, %v", name, len(heard), len(said), err)
		way.does(func(toCaller bool, b []byte) ([]byte, bool) {
			if toCaller {
				return b, false
			}
			return lie(b)
		})
		_, err = s.does(ctx, s.ann, said, way.udp, "connect", "bob", "sink")
		f.must(exits(err) > 0 && whole() == 1, "%s: what ann said was whole %d times, %v", name, whole(), err)
	}
	s.well(ctx, &f)
	return f.all()
}

func doorFloods(ctx context.Context, t *town) error {
	var f findings
	s, started, err := t.echoing(ctx, "--exec", "mute=exec sleep 600", "--exec", "loud=exec yes")
	if err != nil {
		return err
	}
	s.well(ctx, &f) // now bob has ann's cards
	// One host that says nothing.
	silent, err := crowd(ctx, s.at, "127.0.0.66", 64)
	defer silent.leave()
	open := silent.open(ctx)
	f.must(err == nil && open == 32, "of 64 connections of one host %d stand, %v", open, err)
	s.well(ctx, &f)
	// One caller who has every right.
	n, err := nearby.New(nearby.Config{ID: nearby.ID(random(16)), Port: 1, Keyring: s.ann.keys, Rand: crand.Reader,
		Listen: func(context.Context, string, string) (net.PacketConn, error) {
			return nil, errors.New("nobody is looked for")
		},
		Dial: func(ctx context.Context, _, at string) (net.Conn, error) { return stranger(ctx, at, "127.0.0.67") },
	})
	if err != nil {
		return err
	}
	link, err := n.Connect(ctx, nearby.Peer{Place: netip.MustParseAddrPort(s.at)}, s.bob.address)
	if err != nil {
		return err
	}
	defer link.Close()
	var mine []*nearby.Conn
	busy := 0
	for _, protocol := range append([]string{"mute", "loud"}, slices.Repeat([]string{"mute"}, 28)...) {
		c, err := link.Dial(ctx, protocol)
		switch {
		case err == nil:
			mine = append(mine, c)
		case errors.Is(err, nearby.Busy):
			busy++
		default:
			return err
		}
	}
	f.must(len(mine) == 24 && busy == 6, "of 30 connections of one caller %d stand, %d were too many", len(mine), busy)
	// Whose processes do not read, and who reads nothing; ann is this caller too, so one place is given back.
	f.fine(mine[len(mine)-1].Abort(), "one of them ends")
	filling, stop := context.WithCancel(ctx)
	defer stop()
	for _, c := range mine[:8] {
		context.AfterFunc(filling, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // it may have ended
		go func() { _, _ = c.Write(make([]byte, 64<<20)) }()                      // until then
	}
	for range 3 {
		begun := time.Now()
		s.well(ctx, &f)
		f.must(time.Since(begun) < 15*time.Second, "beside who does not read it took %s", time.Since(begun))
	}
	stop()
	for _, c := range mine[:len(mine)-1] {
		_ = c.Abort() // what was written there nobody reads
	}
	// Everybody at once, saying nothing.
	var all crowds
	defer func() { all.leave() }()
	for k := range 10 {
		one, err := crowd(ctx, s.at, fmt.Sprintf("127.0.7.%d", k+1), 32)
		if err != nil {
			return err
		}
		all = append(all, one...)
	}
	stand := all.open(ctx)
	f.must(stand <= 256 && stand > 128, "of 320 connections %d stand", stand)
	f.fine(until(ctx, "a place after the flood", func() bool {
		heard, err := s.does(ctx, s.ann, "again", s.at, "connect", "bob", "echo")
		return err == nil && heard == "again"
	}), "the control")
	mib, err := memoryOf(s.serving.cmd.Process.Pid)
	f.must(err == nil && mib < 200, "the peer has %d MiB, %v", mib, err)
	f.must(strings.Trim(strings.ReplaceAll(started(), s.ann.address.String(), ""), "\n") == "", "served: %s", started())
	return f.all()
}

// crowds are connections that say nothing.
type crowds []net.Conn

// crowd makes so many from one host.
func crowd(ctx context.Context, at, from string, n int) (out crowds, err error) {
	for range n {
		c, err := stranger(ctx, at, from)
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// open is how many of them stand.
func (all crowds) open(ctx context.Context) (n int) {
	if pause(ctx, 300*time.Millisecond) != nil { // what is to be closed is closed
		return 0
	}
	for _, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Millisecond)) // where it fails, so does the read
		_, err := c.Read(make([]byte, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			n++
		}
	}
	return n
}

func (all crowds) leave() {
	for _, c := range all {
		_ = c.Close() // it may be closed already
	}
}
