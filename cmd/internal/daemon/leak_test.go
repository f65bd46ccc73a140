package daemon

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a test leaves a goroutine behind. Of certmagic's two kinds
// are let be: limiters, one for each certificate authority, live as long as the
// process, and whoever keeps a lock's file fresh sees only at its next look that
// the lock is gone. One of net/http waits half a second before it closes after an
// answer to an unfinished request, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
