package town

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a connection from ann to bob's place.
func pair(t *testing.T, n *Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Listen("bob")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	near, err = n.Dialer("ann")(t.Context(), "tcp", "bob:443")
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestConnCarriesBothWays(t *testing.T) {
	t.Parallel()
	near, far := pair(t, NewNetwork())
	sent := make([]byte, 3*pipeBuffer) // more than the buffer holds
	for i := range sent {
		sent[i] = byte(i)
	}
	done := make(chan error, 1)
	go func() {
		_, err := near.Write(sent)
		done <- errors.Join(err, near.Close())
	}()
	got, err := io.ReadAll(far)
	if err != nil || string(got) != string(sent) {
		t.Fatalf("read %d bytes, %v; sent %d", len(got), err, len(sent))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("writing to a closed end works")
	}
	if host, _, _ := net.SplitHostPort(far.RemoteAddr().String()); host == "" || host == near.RemoteAddr().(*net.TCPAddr).IP.String() {
		t.Errorf("remote address %s: the places have one address", far.RemoteAddr())
	}
}

func TestConnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, NewNetwork())
		begun := time.Now()
		_ = near.SetReadDeadline(begun.Add(time.Hour))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read past the deadline: %v", err)
		}
		if waited := time.Since(begun); waited != time.Hour {
			t.Errorf("waited %s", waited)
		}
		_ = near.SetReadDeadline(time.Time{})
		go func() { _, _ = far.Write([]byte("late")) }()
		if n, err := near.Read(make([]byte, 9)); n != 4 || err != nil {
			t.Errorf("after the deadline was taken away: %d, %v", n, err)
		}
		_ = near.SetWriteDeadline(begun)
		if _, err := near.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write past the deadline: %v", err)
		}
	})
}

func TestCutBreaksAndMendHeals(t *testing.T) {
	t.Parallel()
	n := NewNetwork()
	near, far := pair(t, n)
	n.Cut("bob", "ann")
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, errCut) {
		t.Errorf("read on a cut link: %v", err)
	}
	if _, err := far.Write([]byte("x")); !errors.Is(err, errCut) {
		t.Errorf("write on a cut link: %v", err)
	}
	if _, err := n.Dialer("ann")(t.Context(), "tcp", "bob:443"); !errors.Is(err, errCut) {
		t.Errorf("dial over a cut link: %v", err)
	}
	n.Mend("ann", "bob")
	c, err := n.Dialer("ann")(t.Context(), "tcp", "bob:443")
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Dials("ann", "bob"); got != 2 {
		t.Errorf("%d connections open, not 2", got)
	}
	_ = c.Close()
	_ = near.Close()
	if got := n.Dials("ann", "bob"); got != 0 {
		t.Errorf("%d connections open after closing all", got)
	}
}

func TestListenerClose(t *testing.T) {
	t.Parallel()
	n := NewNetwork()
	l, err := n.Listen("bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("bob"); err == nil {
		t.Error("two listen at one place")
	}
	c, err := n.Dialer("ann")(context.Background(), "tcp", "bob:443")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that nobody took stays open")
	}
	if _, err := n.Dialer("ann")(t.Context(), "tcp", "bob:443"); !errors.Is(err, errRefused) {
		t.Errorf("dial where nobody listens: %v", err)
	}
	if l, err = n.Listen("bob"); err != nil {
		t.Fatalf("listening again: %v", err)
	}
	_ = l.Close()
}

func ExampleNetwork() {
	n := NewNetwork()
	l, err := n.Listen("bob")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := n.Dialer("ann")(context.Background(), "tcp", "bob:443")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = c.Write([]byte("echo"))
	heard := make([]byte, 4)
	_, _ = io.ReadFull(c, heard)
	fmt.Printf("%s\n", heard)
	n.Cut("ann", "bob")
	_, err = c.Read(heard)
	fmt.Println(errors.Is(err, errCut))
	_ = l.Close()
	// Output:
	// echo
	// true
}
