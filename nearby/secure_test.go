package nearby_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// two are peers who are each other's contacts, or not, and have heard each other.
func two(t *testing.T, contacts bool, change func(*nearby.Config)) (a, b *peer) {
	t.Helper()
	a = start(t, change)
	b = start(t, func(c *nearby.Config) {
		if change != nil {
			change(c)
		}
		c.Explore.Peers = []netip.AddrPort{a.udp}
	})
	if contacts {
		know(a, b)
		know(b, a)
	}
	until(t, "a hears b", func() bool { return len(a.Peers()) == 1 })
	until(t, "b hears a", func() bool { return len(b.Peers()) == 1 })
	return a, b
}

// know makes the one a contact of the other, by nothing but the address.
func know(who, of *peer) {
	of.book.mu.Lock()
	defer of.book.mu.Unlock()
	of.book.contacts = append(of.book.contacts, who.keyring.Address())
}

func TestHiddenPeersAreKnownToContacts(t *testing.T) {
	a, b := two(t, false, nil)
	if p := b.Peers()[0]; !p.Hidden || !p.Address.IsZero() {
		t.Errorf("a stranger was recognised: %+v", p)
	}
	// Whoever does not know the address sees no certificate.
	other := keyring(t)
	if _, err := b.Connect(t.Context(), b.Peers()[0], other.Address()); err == nil {
		t.Error("a stranger was let in")
	}

	a, b = two(t, true, nil)
	until(t, "b recognises a", func() bool { p := b.Peers(); return len(p) > 0 && p[0].Address == a.keyring.Address() })
	if p := b.Peers()[0]; p.Proved {
		t.Error("a beacon is no proof")
	}
	l, err := b.Connect(t.Context(), b.Peers()[0], a.keyring.Address())
	must(t, err)
	defer l.Close()
	if p := b.Peers()[0]; !p.Proved || l.Chain.Address() != a.keyring.Address() {
		t.Errorf("after connecting: %+v", p)
	}
}

func TestVisiblePeersAreKnownToAll(t *testing.T) {
	a, b := two(t, false, func(c *nearby.Config) { c.Visible = true })
	if p := b.Peers()[0]; p.Hidden || p.Address != a.keyring.Address() || p.Proved {
		t.Errorf("heard %+v", p)
	}
	l, err := b.Connect(t.Context(), b.Peers()[0], a.keyring.Address())
	must(t, err)
	defer l.Close()
	s, err := l.Chat(t.Context())
	must(t, err)
	must(t, s.Say(t.Context(), "hello"))
	if heard := take(t, "a line", a.said); !heard.session.Peer.Proved || heard.session.Peer.Address != b.keyring.Address() || heard.line.Text != "hello" {
		t.Errorf("heard %+v from %+v", heard.line, heard.session.Peer)
	}
	must(t, s.Close())
	// A stranger chats, and no more than that.
	if err := l.Bring(t.Context(), &wirev1.NearbyLetter{}); !errors.Is(err, message.Denied) {
		t.Errorf("a stranger's letter: %v", err)
	}
	if _, err := l.Files(t.Context()); !errors.Is(err, message.Denied) {
		t.Errorf("a stranger lists files: %v", err)
	}
}

func TestLettersAndFiles(t *testing.T) {
	big := make([]byte, 300<<10)
	_, err := rand.Read(big)
	must(t, err)
	a, b := two(t, true, func(c *nearby.Config) { c.Files = shelf{"big.bin": big, ".hidden": nil, "../up": nil} })
	l, err := b.Connect(t.Context(), b.Peers()[0], a.keyring.Address())
	must(t, err)
	defer l.Close()
	must(t, l.Bring(t.Context(), &wirev1.NearbyLetter{Payload: []byte("x")}))
	if w := take(t, "a letter", a.letters); string(w.GetPayload()) != "x" {
		t.Errorf("brought %v", w)
	}

	files, err := l.Files(t.Context())
	must(t, err)
	if len(files) != 1 || files[0].Name != "big.bin" || files[0].Size != int64(len(big)) {
		t.Fatalf("files: %+v", files)
	}
	dir := t.TempDir()
	for name, have := range map[string][]byte{"nothing": nil, "a part": big[:100_001], "all": big, "more": append(bytes.Clone(big), 1)} {
		f, err := os.Create(filepath.Join(dir, name))
		must(t, err)
		_, err = f.Write(have)
		must(t, err)
		var last int64
		err = l.Fetch(t.Context(), files[0], f, func(done int64) { last = done })
		must(t, errors.Join(err, f.Close()))
		got, err := os.ReadFile(f.Name())
		must(t, err)
		if !bytes.Equal(got, big) || last != int64(len(big)) {
			t.Errorf("after %s: %d bytes, %d said", name, len(got), last)
		}
	}
	f, err := os.Create(filepath.Join(dir, "wrong"))
	must(t, err)
	defer f.Close()
	_, err = f.Write([]byte("something else"))
	must(t, err)
	if err := l.Fetch(t.Context(), files[0], f, nil); !errors.Is(err, message.BadSignature) {
		t.Errorf("on top of something else: %v", err)
	}
	if err := l.Fetch(t.Context(), nearby.File{Size: 3, Hash: crypto.Sum([]byte("none"))}, f, nil); !errors.Is(err, message.NotFound) && !errors.Is(err, message.BadSignature) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestPins: whoever answers at a place is nobody until the keys say so.
func TestPins(t *testing.T) {
	a, b := two(t, true, func(c *nearby.Config) { c.Visible = true })
	mallory := start(t, func(c *nearby.Config) { c.Visible = true })
	// Somebody repeats at another place what a has said.
	place := nearby.Peer{Place: mallory.at, Address: a.keyring.Address()}
	if _, err := b.Connect(t.Context(), place, a.keyring.Address()); !errors.Is(err, message.BadSignature) {
		t.Errorf("an impostor: %v", err)
	}
	// The same when a's cards are known already.
	_, err := b.book.Learn(t.Context(), &wirev1.Identity{Cards: a.keyring.Chain.Signed(0)})
	must(t, err)
	if _, err := b.Connect(t.Context(), place, a.keyring.Address()); !errors.Is(err, message.BadSignature) {
		t.Errorf("an impostor whose victim is known: %v", err)
	}
	// A passer-on reads nothing of what both say, and nobody speaks TLS in the clear.
	var wire bytes.Buffer
	tap := start(t, func(c *nearby.Config) {
		c.Keyring = b.keyring
		c.People = b.book
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return tapped{conn, &wire}, err
		}
	})
	l, err := tap.Connect(t.Context(), nearby.Peer{Place: a.at}, a.keyring.Address())
	must(t, err)
	must(t, l.Bring(t.Context(), &wirev1.NearbyLetter{Payload: []byte("a canary in a letter")}))
	take(t, "a letter", a.letters)
	l.Close()
	if wire.Len() < 1000 || bytes.Contains(wire.Bytes(), []byte("canary")) || bytes.Contains(wire.Bytes(), []byte(b.keyring.Address().String())) {
		t.Errorf("%d bytes on the wire, and a letter among them", wire.Len())
	}
	for _, path := range []string{"/cards", "/letters", "/files"} {
		res, err := http.Get("http://" + a.at.String() + path)
		must(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		must(t, res.Body.Close())
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s in the clear: %d", path, res.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// tapped is a connection that somebody listens in on.
type tapped struct {
	net.Conn
	wire *bytes.Buffer
}

// Write writes, and is heard.
func (c tapped) Write(p []byte) (int, error) {
	c.wire.Write(p)
	return c.Conn.Write(p)
}

// TestBeaconsChange: what a hidden peer says of itself in one slot tells nothing in
// another.
func TestBeaconsChange(t *testing.T) {
	a := keyring(t).Address()
	at := uint64(time.Now().Unix() / 600)
	if crypto.Beacon(a.Bytes(), "nearby beacon", at) == crypto.Beacon(a.Bytes(), "nearby beacon", at+1) {
		t.Error("a beacon stays")
	}
}
