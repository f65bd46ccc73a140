package courier_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"airdispatch/courier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDelay: waits double, stay below the longest, and lose at most half to
// the jitter.
func TestDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(10*time.Second)).Draw(t, "first"))
		longest := time.Duration(rapid.Int64Range(int64(first), int64(6*time.Hour)).Draw(t, "longest"))
		attempts := rapid.IntRange(1, 10_000).Draw(t, "attempts")
		b := courier.Backoff{First: first, Max: longest, Rand: rand.Reader}
		want := longest
		if attempts < 30 && first<<(attempts-1) < longest {
			want = first << (attempts - 1)
		}
		if d := b.Delay(attempts); d < want/2 || d > want {
			t.Fatalf("after %d attempts: %s, between %s and %s", attempts, d, want/2, want)
		}
	})
}

// broken is a source of randomness that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestJitter(t *testing.T) {
	for _, limit := range []time.Duration{-1, 0} {
		if d := courier.Jitter(rand.Reader, limit); d != 0 {
			t.Errorf("jitter of %s: %s", limit, d)
		}
	}
	if d := courier.Jitter(broken{}, time.Hour); d != 0 {
		t.Errorf("without randomness: %s", d)
	}
	for range 1000 {
		if d := courier.Jitter(rand.Reader, time.Second); d < 0 || d >= time.Second {
			t.Fatalf("jitter %s", d)
		}
	}
}

// zeros is a source without surprises, for the example.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func ExampleBackoff() {
	b := courier.Backoff{First: 10 * time.Second, Max: 6 * time.Hour, Rand: zeros{}}
	for _, attempts := range []int{1, 2, 3, 20} {
		fmt.Println(attempts, b.Delay(attempts))
	}
	// Output:
	// 1 5s
	// 2 10s
	// 3 20s
	// 20 3h0m0s
}
