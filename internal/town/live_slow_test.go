package town_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/internal/town"
)

// TestLiveSlowReader: at a real mail server, between two programs with one socket each, a
// connection that is not read fills its window and stops; another beside it is as
// fast as ever, and the first goes on where it stopped once somebody reads.
func TestLiveSlowReader(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	ann, bob := w.Resident("ann", w.Server("one")), w.Resident("bob", w.Server("two"))
	taken := make(chan net.Conn, 2)
	bob.Does("listens", func(ctx context.Context, c *client.Client) error {
		l, err := c.Listen(ctx, "x", client.Anyone)
		if err == nil {
			go func() {
				for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
					taken <- conn
				}
			}()
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	said := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(said) // it never fails
	ann.Does("connects twice", func(ctx context.Context, c *client.Client) error {
		slow, err := c.Dial(ctx, bob.Address(), "x")
		if err != nil {
			return err
		}
		unread := <-taken
		defer unread.Close()
		_ = slow.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := slow.Write(said)
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() || n == 0 || n > 512<<10 {
			return fmt.Errorf("wrote %d bytes to somebody who does not read: %w", n, err)
		}
		quick, err := c.Dial(ctx, bob.Address(), "x")
		if err != nil {
			return err
		}
		read := <-taken
		go func() {
			_, _ = quick.Write(said)
			_ = quick.Close()
		}()
		if got, err := io.ReadAll(read); err != nil || !bytes.Equal(got, said) {
			return fmt.Errorf("beside it %d bytes came of %d: %w", len(got), len(said), err)
		}
		_ = read.Close()
		_ = slow.SetWriteDeadline(time.Time{})
		go func() {
			_, _ = slow.Write(said[n:])
			_ = slow.Close()
		}()
		if got, err := io.ReadAll(unread); err != nil || !bytes.Equal(got, said) {
			return fmt.Errorf("after it was read %d bytes came of %d: %w", len(got), len(said), err)
		}
		return nil
	})
}
