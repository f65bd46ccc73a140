package mailserver

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// FuzzContentRange: what is read can be written the one way there is.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bytes 0-9/*", "bytes=0-9", "bytes 00-9/10", "bytes -1-9/10", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseContentRange(s)
		if err != nil {
			if !errors.Is(err, message.Invalid) && !errors.Is(err, message.TooLarge) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if c.off < 0 || c.off > c.end || c.end >= c.total || c.total > message.MaxBlob {
			t.Fatalf("%q: %+v", s, c)
		}
		if strings.Count(s, "-") != 1 || strings.ContainsAny(s, "+ \t"[2:]) {
			t.Fatalf("%q was read", s)
		}
	})
}

// FuzzDescribe: a kept head that was damaged is an error and no more.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0x02, 0x4a, 0x00})
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := describe(&wirev1.Signed{Body: body})
		if err != nil && !errors.Is(err, message.Internal) {
			t.Fatal(err)
		}
		for _, a := range d.to {
			if !d.addressed(a) {
				t.Fatal("a recipient is not addressed")
			}
		}
		var h wirev1.Head
		var b wirev1.Binding
		if err != nil || proto.Unmarshal(body, &h) != nil || proto.Unmarshal(h.GetBinding(), &b) != nil {
			return
		}
		want := description{
			public: b.GetAudience() == wirev1.Audience_AUDIENCE_PUBLIC, tombstone: b.GetKind() == wirev1.Kind_KIND_TOMBSTONE,
			to: d.to, expires: b.GetExpires(), payload: int(h.GetPayloadLen()),
		}
		if !reflect.DeepEqual(d, want) || len(d.to) != len(b.GetTo()) {
			t.Fatalf("got %+v, want %+v to %d", d, want, len(b.GetTo()))
		}
	})
}

// TestGates: so many at a time for one address, no matter how many for others.
func TestGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates(2)
		a, b := message.Address{1}, message.Address{2}
		var leave []func()
		for range 2 {
			done, err := g.enter(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, done)
		}
		if done, err := g.enter(t.Context(), b); err != nil {
			t.Fatal(err)
		} else {
			done()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.enter(ctx, a); !errors.Is(err, message.Unavailable) {
			t.Fatalf("a third: %v", err)
		}
		for _, done := range leave {
			done()
		}
		if len(g.open) != 0 {
			t.Fatalf("%d gates are left", len(g.open))
		}
	})
}

// TestPipelineStops: the first fault of any stage ends the stream, and nobody
// is left behind.
func TestPipelineStops(t *testing.T) {
	broken := errors.New("broken")
	keep := func(_ context.Context, in []int) []int { return in }
	for name, st := range map[string]stages[int, []int, int]{
		"check": {check: func(context.Context, []int) ([]int, error) { return nil, broken }, keep: keep, send: func(int) error { return nil }},
		"send":  {check: func(_ context.Context, in []int) ([]int, error) { return in, nil }, keep: keep, send: func(int) error { return broken }},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			err := pipeline(ctx, func() (int, error) {
				n++
				if n > 100 {
					<-ctx.Done()
					return 0, ctx.Err()
				}
				return n, nil
			}, st)
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		})
	}
}

// TestAccounts: the policies have words, and nothing else is one.
func TestAccounts(t *testing.T) {
	for _, p := range []AccountsPolicy{Open, ByInvite, ByList} {
		if got, err := ParseAccounts(p.String()); err != nil || got != p {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	if _, err := ParseAccounts("some"); !errors.Is(err, message.Invalid) {
		t.Error(err)
	}
	if InviteHash("a") == InviteHash("b") {
		t.Error("two tokens with one hash")
	}
}
