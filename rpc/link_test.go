package rpc

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalling gives up on a peer that takes nothing, and on no other: the time
// counts from the last write, not from the first.
func TestStalling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		c := stalling{near}
		for range 3 {
			time.Sleep(writeStall - time.Second)
			go func() {
				time.Sleep(writeStall - time.Second)
				if _, err := far.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
			}()
			if _, err := c.Write([]byte{1}); err != nil {
				t.Fatalf("a slow peer: %v", err)
			}
		}
		begun := time.Now()
		if _, err := c.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != writeStall {
			t.Errorf("a silent peer: %v after %s", err, time.Since(begun))
		}
	})
}
