package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// counting counts the signatures that are checked.
type counting struct {
	crypto.Single
	n atomic.Int64
}

func (c *counting) Verify(k crypto.Check) bool { c.n.Add(1); return c.Single.Verify(k) }

// knows is a Chains that knows these keyrings.
func knows(ks ...*message.Keyring) rpc.Chains {
	return func(_ context.Context, a message.Address) (*message.Chain, error) {
		for _, k := range ks {
			if k.Address() == a {
				return k.Chain, nil
			}
		}
		return nil, fmt.Errorf("chain: %w", message.NotFound)
	}
}

func signAccess(t testing.TB, k *message.Keyring, audience message.Address, from time.Time, life time.Duration) string {
	t.Helper()
	h, err := message.SignAccess(k.Chain, audience, from, life, k.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCallerAtTheEdgesOfItsTime(t *testing.T) {
	user, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
	const slack, life = message.AccessSlack, message.MaxAccessLife
	for _, c := range []struct {
		name string
		from time.Duration // when the Access begins, as seen from now
		want error
	}{
		{"begins now", 0, nil},
		{"begins exactly the slack ahead", slack, nil},
		{"begins a millisecond more ahead", slack + time.Millisecond, message.Clock},
		{"begins far ahead", time.Hour, message.Clock},
		{"ended exactly the slack ago", -life - slack, nil},
		{"ended a millisecond earlier", -life - slack - time.Millisecond, message.Clock},
		{"ended long ago", -time.Hour * 24 * 365, message.Clock},
	} {
		synctest.Test(t, func(t *testing.T) {
			// The bubble's clock stands still while nothing waits, so the edges are exact.
			header := signAccess(t, user, server.Address(), time.Now().Add(c.from), life)
			callers := rpc.NewCallers(server.Address(), crypto.Single{})
			for _, again := range []string{"", ", again"} {
				if _, err := callers.Caller(t.Context(), header, knows(user)); !errors.Is(err, c.want) {
					t.Errorf("%s%s: %v, want %v", c.name, again, err, c.want)
				}
			}
		})
	}
}

// TestRememberedCallerExpires: the cache must not make an Access live longer than
// its signature says, nor forget to look at the clock.
func TestRememberedCallerExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
		v := &counting{}
		callers := rpc.NewCallers(server.Address(), v)
		header := signAccess(t, user, server.Address(), time.Now(), message.MaxAccessLife)
		for range 10 {
			if a, err := callers.Caller(t.Context(), header, knows(user)); err != nil || a != user.Address() {
				t.Fatal(a, err)
			}
		}
		if n := v.n.Load(); n != 1 {
			t.Errorf("%d signature checks for one header, want 1", n)
		}
		time.Sleep(message.MaxAccessLife + message.AccessSlack)
		if _, err := callers.Caller(t.Context(), header, knows(user)); err != nil {
			t.Errorf("at the very end: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := callers.Caller(t.Context(), header, knows(user)); !errors.Is(err, message.Clock) {
			t.Errorf("after the end: %v, want clock", err)
		}
	})
}

// TestRememberedCallerIsItsWholeHeader: what was said before under a good
// signature is believed under no other one.
func TestRememberedCallerIsItsWholeHeader(t *testing.T) {
	user, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
	callers := rpc.NewCallers(server.Address(), crypto.Single{})
	good := signAccess(t, user, server.Address(), time.Now(), time.Minute)
	if _, err := callers.Caller(t.Context(), good, knows(user)); err != nil {
		t.Fatal(err)
	}
	// The signature stands last: its first and its last whole character.
	for _, at := range []int{len(good) - 80, len(good) - 2} {
		letter := "A"
		if good[at] == 'A' {
			letter = "B"
		}
		if a, err := callers.Caller(t.Context(), good[:at]+letter+good[at+1:], knows(user)); !errors.Is(err, message.BadSignature) {
			t.Errorf("another signature: %s, %v", a, err)
		}
	}
}

func TestCallerRefuses(t *testing.T) {
	user, other := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleUser)
	server, elsewhere := newKeyring(t, message.RoleServer), newKeyring(t, message.RoleServer)
	good := signAccess(t, user, server.Address(), time.Now(), time.Minute)
	forged, err := message.SignAccess(user.Chain, server.Address(), time.Now(), time.Minute, other.Signer)
	if err != nil {
		t.Fatal(err)
	}
	middle := len(good) - 20
	letter := "A"
	if good[middle] == 'A' {
		letter = "B"
	}
	for _, c := range []struct {
		name, header string
		want         error
	}{
		{"nothing", "", message.Unauthenticated},
		{"another scheme", "Bearer " + strings.TrimPrefix(good, "Airdispatch "), message.Unauthenticated},
		{"scheme alone", "Airdispatch", message.Unauthenticated},
		{"empty token", "Airdispatch ", message.Invalid},
		{"basic", "Basic YTpi", message.Unauthenticated},
		{"no base64", "Airdispatch %%%%", message.Invalid},
		{"padding", good + "==", message.Invalid},
		{"two at once", good + ", " + good, message.Invalid},
		{"cut short", good[:len(good)-9], message.Invalid},
		{"trailing space", good + " ", message.Invalid},
		{"inner newline", good[:40] + "\n" + good[40:], message.Invalid},
		{"long", "Airdispatch " + strings.Repeat("A", 4<<10), message.TooLarge},
		{"huge", strings.Repeat("A", 1<<20), message.TooLarge},
		{"for another server", signAccess(t, user, elsewhere.Address(), time.Now(), time.Minute), message.Unauthenticated},
		{"somebody else's key", forged, message.BadSignature},
		{"a bit of the signature", good[:middle] + letter + good[middle+1:], message.BadSignature},
		{"valid for nothing", signAccess(t, user, server.Address(), time.Now(), 0), message.Invalid},
		{"valid backwards", signAccess(t, user, server.Address(), time.Now(), -time.Minute), message.Invalid},
	} {
		callers := rpc.NewCallers(server.Address(), crypto.Single{})
		a, err := callers.Caller(t.Context(), c.header, knows(user))
		if !errors.Is(err, c.want) || !a.IsZero() {
			t.Errorf("%s: %v, %v, want %v", c.name, a, err, c.want)
		}
	}
}

func TestCallerThatIsNotKnownIsAskedForItsBundle(t *testing.T) {
	user, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
	callers := rpc.NewCallers(server.Address(), crypto.Single{})
	header := signAccess(t, user, server.Address(), time.Now(), time.Minute)
	_, err := callers.Caller(t.Context(), header, knows())
	r, ok := errors.AsType[*message.Refused](err)
	if !ok || r.Code != message.NeedBundle || r.Address != user.Address() {
		t.Errorf("%v, want need_bundle for %s", err, user.Address())
	}
	broken := errors.New("disk on fire")
	_, err = callers.Caller(t.Context(), header, func(context.Context, message.Address) (*message.Chain, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("%v, want what chains said", err)
	}
}

// removeDevice returns k's chain with another device key, as after a loss.
func removeDevice(t testing.TB, k *message.Keyring) *message.Chain {
	t.Helper()
	signer := newKeyring(t, message.RoleUser).Signer
	head := k.Chain.Head()
	s, err := message.SignCard(message.CardDraft{
		Rotation: head.Rotation, Signers: []crypto.VerifyKey{signer.Public()}, Boxes: head.Boxes, Time: time.Now(), Role: head.Role,
	}, head, k.Rotation[0])
	if err != nil {
		t.Fatal(err)
	}
	chain, err := k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{s})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestForget(t *testing.T) {
	user, other, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
	v := &counting{}
	callers := rpc.NewCallers(server.Address(), v)
	header := signAccess(t, user, server.Address(), time.Now(), time.Minute)
	others := signAccess(t, other, server.Address(), time.Now(), time.Minute)
	for _, h := range []string{header, others} {
		if _, err := callers.Caller(t.Context(), h, knows(user, other)); err != nil {
			t.Fatal(err)
		}
	}
	after := &message.Keyring{Chain: removeDevice(t, user), Signer: user.Signer}
	if _, err := callers.Caller(t.Context(), header, knows(after)); err != nil {
		t.Errorf("before Forget: %v", err)
	}
	callers.Forget(user.Address())
	if _, err := callers.Caller(t.Context(), header, knows(after)); !errors.Is(err, message.BadSignature) {
		t.Errorf("after Forget: %v, want a bad signature", err)
	}
	checks := v.n.Load()
	if _, err := callers.Caller(t.Context(), others, knows()); err != nil || v.n.Load() != checks {
		t.Errorf("somebody else was forgotten too: %v", err)
	}
}

// TestForgetWhileVerifying: a chain that was read before Forget must not put its
// verdict into the cache after it.
func TestForgetWhileVerifying(t *testing.T) {
	user, server := newKeyring(t, message.RoleUser), newKeyring(t, message.RoleServer)
	callers := rpc.NewCallers(server.Address(), crypto.Single{})
	header := signAccess(t, user, server.Address(), time.Now(), time.Minute)
	after := &message.Keyring{Chain: removeDevice(t, user), Signer: user.Signer}
	_, err := callers.Caller(t.Context(), header, func(context.Context, message.Address) (*message.Chain, error) {
		callers.Forget(user.Address()) // the new card is taken while the old chain is on its way
		return user.Chain, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := callers.Caller(t.Context(), header, knows(after)); !errors.Is(err, message.BadSignature) {
		t.Errorf("%v, want a bad signature", err)
	}
}

// asked is a directory that tells what it knows of the call.
type asked struct {
	wirev1connect.UnimplementedDirectoryHandler
	header, remote string
	proxied        bool
}

func (a *asked) Lookup(ctx context.Context, _ *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	a.header, a.remote = rpc.Authorization(ctx), rpc.Remote(ctx, a.proxied).String()
	return &wirev1.LookupResponse{}, nil
}

func TestAuthorizationAndRemote(t *testing.T) {
	a := &asked{}
	_, h := wirev1connect.NewDirectoryHandler(a, rpc.Options(nil)...)
	for _, c := range []struct {
		values             []string
		from, want, remote string
	}{
		{nil, "192.0.2.7:1", "", "192.0.2.7/32"},
		{[]string{"Airdispatch x"}, "[2001:db8:1:2:3:4:5:6]:1", "Airdispatch x", "2001:db8:1:2::/64"},
		{[]string{"Airdispatch x", "Airdispatch y"}, "[::ffff:192.0.2.7]:1", "Airdispatch x, Airdispatch y", "192.0.2.7/32"},
		{nil, "pipe", "", "invalid Prefix"},
	} {
		r := httptest.NewRequest(http.MethodPost, wirev1connect.DirectoryLookupProcedure, strings.NewReader("{}"))
		r.Header["Authorization"] = c.values
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = c.from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK || a.header != c.want || a.remote != c.remote {
			t.Errorf("%v from %s: %d, header %q, remote %q, want %q and %q", c.values, c.from, w.Code, a.header, a.remote, c.want, c.remote)
		}
	}
	if rpc.Authorization(t.Context()) != "" || rpc.Remote(t.Context(), true).IsValid() {
		t.Error("a context without a call has a header or a remote")
	}
}

// TestRemoteBehindAProxy: a proxy on this machine says who asks, in both kinds of
// handler; nobody else can, and what the asker wrote before does not count.
func TestRemoteBehindAProxy(t *testing.T) {
	a := &asked{}
	_, h := wirev1connect.NewDirectoryHandler(a, rpc.Options(nil)...)
	for _, c := range []struct {
		proxied    bool
		from, want string
		forwarded  []string
	}{
		{true, "127.0.0.1:1", "192.0.2.7/32", []string{"192.0.2.7"}},
		{true, "[::1]:1", "2001:db8:1:2::/64", []string{"192.0.2.7, 2001:db8:1:2:3:4:5:6"}},
		{true, "[::ffff:127.0.0.1]:1", "192.0.2.9/32", []string{"192.0.2.7", "192.0.2.8,::ffff:192.0.2.9"}},
		{true, "127.0.0.1:1", "127.0.0.1/32", nil},
		{true, "127.0.0.1:1", "127.0.0.1/32", []string{"192.0.2.7, unknown"}},
		{true, "192.0.2.1:1", "192.0.2.1/32", []string{"192.0.2.7"}},
		{false, "127.0.0.1:1", "127.0.0.1/32", []string{"192.0.2.7"}},
	} {
		r := httptest.NewRequest(http.MethodPost, wirev1connect.DirectoryLookupProcedure, strings.NewReader("{}"))
		r.Header["X-Forwarded-For"] = c.forwarded
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr, a.proxied = c.from, c.proxied
		plain := rpc.RemoteOf(r, c.proxied).String()
		h.ServeHTTP(httptest.NewRecorder(), r)
		if a.remote != c.want || plain != c.want {
			t.Errorf("%v from %s, proxied %t: %s and %s, want %s", c.forwarded, c.from, c.proxied, a.remote, plain, c.want)
		}
	}
}
