package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func newKeyring(t testing.TB) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// alone is a client that reaches nobody.
func alone(t testing.TB, k *message.Keyring) *Client {
	t.Helper()
	nowhere := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no network") }
	c, err := Open(t.Context(), Config{Home: t.TempDir(), Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: nowhere}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestParseID(t *testing.T) {
	a := message.Address{1}.String()
	mid := "0123456789abcdef0123456789abcdef"
	tests := []struct {
		text string
		want idText
		ok   bool
	}{
		{a + "::" + mid, idText{who: a, mid: message.MID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}, true},
		{mid, idText{mid: message.MID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}, true},
		{"0123", idText{prefix: "0123"}, true},
		{"::ABCD", idText{prefix: "abcd"}, true},
		{" 0123 ", idText{prefix: "0123"}, true},
		{"bob::abcd", idText{who: "bob", prefix: "abcd", name: "abcd"}, true},
		{"bob::profile", idText{who: "bob", name: "profile"}, true},
		{"bob::ab", idText{who: "bob", name: "ab"}, true},
		{"ann@[2001:db8::1]::abcd", idText{who: "ann@[2001:db8::1]", prefix: "abcd", name: "abcd"}, true},
		{"airdispatch:" + a + "::profile?tracker=https%3A%2F%2Ft.example", idText{who: "airdispatch:" + a + "::profile?tracker=https%3A%2F%2Ft.example", name: "profile"}, true},
		{"", idText{}, false}, {"012", idText{}, false}, {"xyz", idText{}, false}, {"::", idText{}, false}, {"bob::", idText{}, false},
		{a, idText{}, false}, {mid + "0", idText{}, false}, {"bob::No Name", idText{}, false}, {"ann@[2001:db8::1]", idText{}, false},
		{"airdispatch:" + a, idText{}, false}, {message.MID{}.String(), idText{}, false},
	}
	for _, tt := range tests {
		got, err := parseID(tt.text)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
		if err != nil && !errors.Is(err, message.Invalid) {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "0123", "::abcd", "bob::profile", "ad1::0123456789abcdef0123456789abcdef", "airdispatch:a::b?c", "a@[::1]::x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseID(s)
		if err != nil {
			// What is repeated is clipped to 80 bytes, and quoting makes four of one.
			if !errors.Is(err, message.Invalid) || len(err.Error()) > 4*80+200 {
				t.Fatal(err)
			}
			return
		}
		if id.mid.IsZero() && id.prefix == "" && id.name == "" {
			t.Fatalf("%q means nothing", s)
		}
		if id.name != "" && (message.CheckPostName(id.name) != nil || id.who == "") {
			t.Fatalf("%q: name %q of %q", s, id.name, id.who)
		}
		if strings.Trim(id.prefix, "0123456789abcdef") != "" || id.prefix != "" && len(id.prefix) < MinPrefix {
			t.Fatalf("%q: prefix %q", s, id.prefix)
		}
	})
}

func FuzzContactName(f *testing.F) {
	for _, s := range []string{"bob", "Bob Smith", "ad1", "", "-x", "a@b", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckContactName(s) != nil {
			return
		}
		// A contact is never read as anything else.
		if _, err := message.ParseTarget(s); err == nil {
			t.Fatalf("the contact %q is an address too", s)
		}
		if who, _, isMessage := cutMessage(s + "::profile"); who != s || !isMessage {
			t.Fatalf("the contact %q hides the message", s)
		}
	})
}

func TestFind(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	bob := message.Address{2}
	if _, err := c.AddContact(t.Context(), bob.String(), "Bob"); err != nil {
		t.Fatal(err)
	}
	put := func(from message.Address, mid message.MID) message.Ref {
		ref := message.Ref{From: from, MID: mid}
		m := home.Message{Ref: ref, Box: home.Received, Version: 1, Head: &wirev1.Signed{Body: []byte("h")}, Time: time.Now()}
		if err := c.home.PutMessage(t.Context(), c.me, m); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	one, two := put(bob, message.MID{0xab, 0xcd, 0x01}), put(message.Address{3}, message.MID{0xab, 0xcd, 0x02})
	named := put(bob, message.NamedMID("beef"))
	tests := []struct {
		text string
		want message.Ref
		err  error
	}{
		{one.String(), one, nil}, {"abcd01", one, nil}, {"::abcd02", two, nil}, {"bob::abcd", one, nil}, {"BOB::" + one.MID.String(), one, nil},
		{two.MID.String(), two, nil},
		{"abcd", message.Ref{}, message.Invalid}, {"abcd03", message.Ref{}, message.NotFound}, {"carol::abcd", message.Ref{}, message.NotFound},
		{"bob::profile", message.Ref{From: bob, MID: message.NamedMID("profile")}, nil},
		// What could be a name as well as digits is the name if there is such a message.
		{"bob::beef", named, nil}, {"bob::feed", message.Ref{From: bob, MID: message.NamedMID("feed")}, nil},
		{"airdispatch:" + one.String() + "?tracker=https%3A%2F%2Ft.example", one, nil},
		{"airdispatch:" + one.String() + "?tracker=http%3A%2F%2Ft.example", message.Ref{}, message.Invalid},
	}
	for _, tt := range tests {
		got, err := c.Find(t.Context(), tt.text)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
	if refs := c.lookups(t.Context()).Trackers(); len(refs) != 1 || refs[0].URL != "https://t.example" {
		t.Errorf("the link's tracker is not asked: %v", refs)
	}
}

func TestNobodyAndNoAccount(t *testing.T) {
	nobody, somebody := alone(t, nil), alone(t, newKeyring(t))
	ref := message.Ref{From: message.Address{1}, MID: message.MID{1}}
	for what, do := range map[string]func(c *Client) error{
		"send":       func(c *Client) error { _, err := c.Send(t.Context(), Draft{To: []string{"x"}}); return err },
		"sync":       func(c *Client) error { _, err := c.Sync(t.Context()); return err },
		"edit":       func(c *Client) error { _, err := c.Edit(t.Context(), ref, Revision{}); return err },
		"recall":     func(c *Client) error { _, err := c.Recall(t.Context(), ref); return err },
		"status":     func(c *Client) error { _, err := c.Status(t.Context(), ref); return err },
		"policies":   func(c *Client) error { _, err := c.Policies(t.Context()); return err },
		"claim":      func(c *Client) error { _, err := c.Claim(t.Context(), "ann"); return err },
		"profile":    func(c *Client) error { _, err := c.SetProfile(t.Context(), nil, nil); return err },
		"unregister": func(c *Client) error { return c.Unregister(t.Context()) },
		"watch":      func(c *Client) error { return c.Watch(t.Context(), func(*Synced) error { return nil }) },
	} {
		if err := do(nobody); !errors.Is(err, ErrNoIdentity) {
			t.Errorf("%s as nobody: %v", what, err)
		}
		if err := do(somebody); !errors.Is(err, ErrNoAccount) {
			t.Errorf("%s without an account: %v", what, err)
		}
	}
	if _, err := nobody.Register(t.Context(), Registration{}); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	if _, err := somebody.Register(t.Context(), Registration{}); !errors.Is(err, message.Invalid) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{}); !errors.Is(err, message.Invalid) {
		t.Error(err)
	}
	if findings := somebody.Doctor(t.Context()); len(findings) < 2 || !findings[0].Fine || findings[1].Fine {
		t.Errorf("%+v", findings)
	}
}
