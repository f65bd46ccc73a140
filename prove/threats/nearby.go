package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// quietly are settings under which nothing goes to more than one host.
const quietly = "[explorer]\nperiod = \"1s\"\n[explorer.multicast]\naddress = \"\"\naddress6 = \"\"\nport = %s\n[explorer.broadcast]\naddress = \"\"\n"

// spoofed sends hostile datagrams to a visible peer: none ends it, none is answered at greater length or
// without end, and what it has said leads nobody to somebody else.
func spoofed(ctx context.Context, t *town) error {
	var f findings
	bob, ann := t.visitor(), t.visitor()
	addr, err := bob.adctl(ctx, "id", "new", "--no-passphrase")
	if err != nil {
		return err
	}
	if _, err := ann.adctl(ctx, "id", "new", "--no-passphrase"); err != nil {
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
	config, err := t.file("nearby.toml", fmt.Sprintf(quietly, port))
	if err != nil {
		return err
	}
	listening, err := t.neighbour(ctx, bob.dir, "--listen", at, "--config", config, "--visible")
	if err != nil {
		return err
	}
	hello, err := datagramFlood(&f, at)
	if err != nil {
		return err
	}
	select {
	case <-listening:
		f.must(false, "a datagram has ended the peer")
	default:
	}
	// Somebody repeats what bob says of himself, and waits for those who come.
	if _, err := ann.adctl(ctx, "contacts", "add", trimmed(addr), "bob"); err != nil {
		return err
	}
	repeats, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer repeats.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := repeats.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = repeats.WriteTo(hello, from)
		}
	}()
	text, err := t.file("canary-nearby.md", "for bob alone")
	if err != nil {
		return err
	}
	_, err = ann.adctl(ctx, "nearby", "send", "bob", text, "--config", config, "--peer", repeats.LocalAddr().String(), "--wait", "2s")
	f.must(exits(err) != 0, "a letter went out although bob does not know ann")
	list, err := ann.adctl(ctx, "nearby", "list", "--config", config, "--peer", at, "--wait", "2s")
	f.fine(err, "list")
	f.must(strings.Contains(list, trimmed(addr)), "the control: after the flood bob is not found: %s", list)
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

// neighbour starts a peer and waits until it listens. What it returns is closed when it ends.
func (t *town) neighbour(ctx context.Context, home string, args ...string) (<-chan struct{}, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "adctl"), append([]string{"--home", home, "nearby", "serve"}, args...)...)
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	ready := false
	for !ready && lines.Scan() {
		ready = strings.HasPrefix(lines.Text(), "listening ")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() { // until it ends
		}
		_ = cmd.Wait() // it is killed
	}()
	t.ends(func() {
		_ = cmd.Process.Kill() // where it has ended already, that is seen
		<-ended
	})
	if !ready {
		return nil, fmt.Errorf("the peer does not listen")
	}
	return ended, nil
}
