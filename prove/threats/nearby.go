package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"
)

// spoofed sends hostile datagrams to a visible peer: none ends it, none is answered at greater length or
// without end, and what it has said leads nobody to somebody else.
func spoofed(ctx context.Context, t *town) error {
	var f findings
	bob, err := t.born(ctx)
	if err != nil {
		return err
	}
	ann, err := t.born(ctx)
	if err != nil {
		return err
	}
	at, err := free()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return err
	}
	config, err := t.file("nearby.toml", fmt.Sprintf(quietly, "1s", port))
	if err != nil {
		return err
	}
	listening, err := bob.there(ctx, at, "--config", config, "--visible")
	if err != nil {
		return err
	}
	hello, err := datagramFlood(&f, at)
	if err != nil {
		return err
	}
	f.must(listening.lives(), "a datagram has ended the peer")
	// Somebody repeats what bob says of himself, and waits for those who come.
	if _, err := ann.adctl(ctx, "contacts", "add", bob.address.String(), "bob"); err != nil {
		return err
	}
	repeats, err := t.decoy(hello)
	if err != nil {
		return err
	}
	text, err := t.file("canary-nearby.md", "for bob alone")
	if err != nil {
		return err
	}
	_, err = ann.adctl(ctx, "nearby", "send", "bob", text, "--config", config, "--peer", repeats, "--wait", "2s")
	f.must(exits(err) != 0, "a letter went out although bob does not know ann")
	list, err := ann.adctl(ctx, "nearby", "list", "--config", config, "--peer", at, "--wait", "2s")
	f.fine(err, "list")
	f.must(strings.Contains(list, bob.address.String()), "the control: after the flood bob is not found: %s", list)
	return f.all()
}

// datagramFlood sends hostile datagrams, counts what comes back, and returns the longest.
func datagramFlood(f *findings, at string) (hello []byte, err error) {
	attacker, err := net.Dial("udp", at)
	if err != nil {
		return nil, err
	}
	defer attacker.Close()
	id := append([]byte{0x0a, 0x12, 0x0a, 0x10}, make([]byte, 16)...)
	begun, answers := time.Now(), 0
	buffer := make([]byte, 4096)
	for i := range 5000 {
		binary.BigEndian.PutUint32(id[4:], uint32(i+1))
		b := append(append([]byte{}, id...), 0x10, 0x01)
		switch i % 5 {
		case 1:
			b = []byte{0x10, 0x01} // what ended peers of P2P v0.4
		case 2:
			b = append([]byte{0x0a, 0x03, 0x0a, 0x01}, 7)
		case 3:
			b = append(append(b, 0x9a, 0x01, 0xac, 0x02), make([]byte, 300)...)
		case 4:
			b = make([]byte, 1400)
		}
		if _, err := attacker.Write(b); err != nil {
			return nil, err
		}
		_ = attacker.SetReadDeadline(time.Now().Add(200 * time.Microsecond))
		for {
			n, err := attacker.Read(buffer)
			if err != nil {
				break
			}
			answers++
			f.must(n <= 325, "an answer of %d bytes is longer than what was asked", n)
			if n > 100 {
				hello = append([]byte{}, buffer[:n]...)
			}
		}
	}
	seconds := int(time.Since(begun)/time.Second) + 2
	f.must(answers > 0 && answers <= 10*seconds, "%d answers in %d seconds", answers, seconds)
	f.must(hello != nil, "the control: it never said who it is")
	return hello, nil
}
