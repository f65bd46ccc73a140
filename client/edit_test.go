package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// draftOf is the number of the draft that an error says was kept.
func draftOf(t *testing.T, err error) int64 {
	t.Helper()
	kept, ok := errors.AsType[*client.DraftError](err)
	if !ok {
		t.Fatalf("no draft was kept: %v", err)
	}
	return kept.ID
}

// TestEditIsKeptAsDraft: while the server is down nothing of what was written is
// lost, and it becomes one version once it is up.
func TestEditIsKeptAsDraft(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", w.Server("two"))
	accept(bob, ann)
	m := ann.Writes(client.Draft{Subject: "Plan", Body: "first"}, "bob")
	path, _ := someFile(t, "map.bin", 10)
	one.Stop()
	var id int64
	ann.Does("edits in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("second"), Subject: text("New  plan"), Attach: []client.File{{Path: path}}})
		if id = draftOf(t, err); !errors.Is(err, message.Unavailable) {
			t.Errorf("kept, but: %v", err)
		}
		drafts, err := c.Drafts(ctx)
		if err != nil || len(drafts) != 1 {
			t.Fatalf("%+v, %v", drafts, err)
		}
		d := drafts[0]
		if d.ID != id || d.EditOf != m || d.Subject != "New plan" || d.Body != "second" || len(d.To) != 1 || d.To[0] != bob.Address().String() || len(d.Attach) != 1 || d.Trouble == "" {
			t.Errorf("%+v", d)
		}
		if i, err := c.Message(ctx, m); err != nil || i.Head.Version != 1 {
			t.Errorf("%+v, %v", i, err)
		}
		return nil
	})
	one.Start()
	ann.Does("sends the draft", func(ctx context.Context, c *client.Client) error {
		sent, err := c.SendDraft(ctx, id)
		if err != nil || len(sent) != 1 || sent[0].Head.Ref() != m || sent[0].Head.Version != 2 {
			t.Errorf("%+v, %v", sent, err)
		}
		if drafts, err := c.Drafts(ctx); err != nil || len(drafts) != 0 {
			t.Errorf("%+v, %v", drafts, err)
		}
		return nil
	})
	bob.Awaits(m, 2)
	r := bob.Reads(m, "second")
	if r.Subject != "New plan" || len(r.Attachments()) != 1 {
		t.Errorf("%+v", r.Item)
	}
	ann.Does("edits what cannot be edited", func(ctx context.Context, c *client.Client) error {
		theirs := message.Ref{From: bob.Address(), MID: m.MID}
		if _, err := c.Edit(ctx, theirs, client.Revision{Body: text("x")}); !errors.Is(err, message.Denied) {
			t.Error(err)
		}
		if _, err := c.Edit(ctx, m, client.Revision{Attach: []client.File{{Path: filepath.Join(t.TempDir(), "none")}}}); !errors.Is(err, message.Invalid) {
			t.Error(err)
		}
		if drafts, err := c.Drafts(ctx); err != nil || len(drafts) != 0 {
			t.Errorf("a draft of what can never be sent: %+v, %v", drafts, err)
		}
		return nil
	})
}

// TestEditDraftReplacesKnowingly: a draft over a version that is not the newest
// any more takes nobody's words away before the person has heard of them.
func TestEditDraftReplacesKnowingly(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann := w.Resident("ann", one)
	phone := ann.Device("phone", one)
	m := ann.Send("first", "ann")
	one.Stop()
	var id int64
	ann.Does("edits in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("from the desk")})
		id = draftOf(t, err)
		return nil
	})
	one.Start()
	phone.Reads(m, "first")
	phone.Edits(m, "from the phone")
	sends := func(step string, ctx context.Context, c *client.Client) {
		_, err := c.SendDraft(ctx, id)
		conflict, ok := errors.AsType[*client.ConflictError](err)
		if !ok || conflict.Stands != 2 || draftOf(t, err) != id || !errors.Is(err, message.Conflict) {
			t.Errorf("%s: %v", step, err)
		}
	}
	ann.Does("sends the draft unaware", func(ctx context.Context, c *client.Client) error {
		sends("unaware", ctx, c)
		// Told of it, but the words are not here yet.
		sends("not read", ctx, c)
		return nil
	})
	ann.Reads(m, "from the phone")
	ann.Does("sends it knowingly", func(ctx context.Context, c *client.Client) error {
		sent, err := c.SendDraft(ctx, id)
		if err != nil || sent[0].Head.Version != 3 {
			t.Errorf("%+v, %v", sent, err)
		}
		return nil
	})
	phone.Reads(m, "from the desk")

	// The other order: what came in between is here already, but was never seen
	// by who wrote the draft.
	one.Stop()
	ann.Does("edits in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Edit(ctx, m, client.Revision{Body: text("desk again")})
		id = draftOf(t, err)
		return nil
	})
	one.Start()
	phone.Edits(m, "phone again")
	ann.Does("hears of it", func(ctx context.Context, c *client.Client) error {
		if err := errors.Join(c.SyncSent(ctx), c.FetchSent(ctx)); err != nil {
			return err
		}
		_, err := c.SendDraft(ctx, id)
		if conflict, ok := errors.AsType[*client.ConflictError](err); !ok || conflict.Mine != 4 || conflict.Stands != 4 {
			t.Errorf("replaced what nobody had read: %v", err)
		}
		sent, err := c.SendDraft(ctx, id)
		if err != nil || sent[0].Head.Version != 5 {
			t.Errorf("%+v, %v", sent, err)
		}
		return nil
	})
}

// deaf is a network of which the answers can be kept away: whoever listens hears
// nothing until release, and then that the connection is gone.
type deaf struct {
	dial    rpc.DialFunc
	mu      sync.Mutex
	release chan struct{}
}

func (d *deaf) waiting() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.release
}

// shut keeps answers away from now on, open gives them back.
func (d *deaf) set(c chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release = c
}

// Dial connects, while anybody is heard.
func (d *deaf) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.waiting() != nil {
		return nil, net.ErrClosed
	}
	c, err := d.dial(ctx, network, address)
	return &muffled{c, d}, err
}

// muffled is one connection of it.
type muffled struct {
	net.Conn
	d *deaf
}

// Read reads, and where answers are kept away waits and fails.
func (m *muffled) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if c := m.d.waiting(); c != nil {
		<-c
		return 0, net.ErrClosed
	}
	return n, err
}

// eventually waits until something is there.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	late, again := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !there() {
		select {
		case <-late:
			t.Fatal(what, " never came")
		case <-again.C:
		}
	}
}

// TestEditWhoseAnswerIsLost: the server took the version and its word was lost.
// Sent again, it makes no second version.
func TestEditWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t, "hill.test")
	k := keyringOf(t, message.RoleUser)
	d := &deaf{dial: w.network.Dialer("ann")}
	ann, err := client.Open(t.Context(), client.Config{Home: t.TempDir(), Keyring: k, Rand: rand.Reader, RPC: rpc.Config{Dial: d.Dial}, Trackers: w.trackers})
	must(t, err)
	defer func() { must(t, ann.Close()) }()
	registration := client.Registration{Server: w.server, Trackers: w.trackers}
	_, err = ann.Register(t.Context(), registration)
	must(t, err)
	other, _ := w.open("phone", t.TempDir(), k)
	_, err = other.Register(t.Context(), registration)
	must(t, err)
	sent, err := ann.Send(t.Context(), client.Draft{To: []string{k.Address().String()}, Body: "first"})
	must(t, err)
	m := sent[0].Head.Ref()

	shut := make(chan struct{})
	d.set(shut)
	failed := make(chan error, 1)
	go func() {
		_, err := ann.Edit(t.Context(), m, client.Revision{Body: text("second")})
		failed <- err
	}()
	eventually(t, "the edit at the server", func() bool {
		must(t, other.SyncSent(t.Context()))
		i, err := other.Message(t.Context(), m)
		must(t, err)
		return i.Head.Version == 2
	})
	close(shut)
	id := draftOf(t, <-failed)
	d.set(nil)
	resent, err := ann.SendDraft(t.Context(), id)
	if err != nil || len(resent) != 1 || resent[0].Head.Version != 2 {
		t.Fatalf("%+v, %v", resent, err)
	}
	must(t, other.SyncSent(t.Context()))
	i, err := other.Message(t.Context(), m)
	if err != nil || i.Head.Version != 2 {
		t.Errorf("another version was made: %+v, %v", i, err)
	}
	r, err := ann.Message(t.Context(), m)
	must(t, err)
	if body, _ := r.Content.Body(); body != "second" {
		t.Errorf("the own copy says %q", body)
	}
}

// TestEditSealsToTheNewestBox: who has lost the box that a version was sealed to
// is told so, and an edit that changes nothing seals it anew for the box that
// the card names now.
func TestEditSealsToTheNewestBox(t *testing.T) {
	w := newWorld(t, "hill.test")
	ann, _, _ := w.resident("ann")
	bob, k, _ := w.resident("bob")
	sent, err := ann.Send(t.Context(), client.Draft{To: []string{k.Address().String()}, Body: "for your eyes"})
	must(t, err)
	m := sent[0].Head.Ref()

	head := k.Chain.Head()
	key, err := crypto.NewBoxKey(crypto.BoxHybrid, rand.Reader)
	must(t, err)
	next, err := message.SignCard(message.CardDraft{
		Rotation: head.Rotation, Signers: head.Signers, Boxes: []crypto.Box{key.Public()}, Time: time.Now(), Role: message.RoleUser,
	}, head, k.Rotation[0])
	must(t, err)
	chain, err := k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{next})
	must(t, err)
	must(t, bob.Close())
	moved := &message.Keyring{Chain: chain, Rotation: k.Rotation, Signer: k.Signer, Boxes: []crypto.BoxKey{key}}
	anew, _ := w.open("bob", t.TempDir(), moved)
	_, err = anew.Register(t.Context(), client.Registration{Server: w.server, Trackers: w.trackers})
	must(t, err)

	eventually(t, "the letter in the inbox", func() bool {
		_, err := anew.Sync(t.Context())
		must(t, err)
		_, err = anew.Message(t.Context(), m)
		return err == nil
	})
	_, err = anew.Read(t.Context(), m, client.ReadOptions{})
	if !errors.Is(err, client.ErrNoKey) {
		t.Errorf("sealed to a box that is gone: %v", err)
	}
	second, err := ann.Edit(t.Context(), m, client.Revision{})
	if err != nil || second.Head.Version != 2 {
		t.Fatalf("%+v, %v", second, err)
	}
	r, err := anew.Read(t.Context(), m, client.ReadOptions{})
	must(t, err)
	if body, _ := r.Content.Body(); body != "for your eyes" || r.Shown != 2 {
		t.Errorf("version %d says %q", r.Shown, body)
	}
}

// TestDraftFromAnotherDirectory: what a draft attaches is found again wherever
// it is sent from.
func TestDraftFromAnotherDirectory(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann := w.Resident("ann", one)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "note.txt"), []byte("n"), 0o600))
	t.Chdir(dir)
	one.Stop()
	var id int64
	ann.Does("sends in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{ann.Address().String()}, Attach: []client.File{{Path: "note.txt"}}})
		id = draftOf(t, err)
		return nil
	})
	one.Start()
	t.Chdir(t.TempDir())
	ann.Does("sends it from elsewhere", func(ctx context.Context, c *client.Client) error {
		_, err := c.SendDraft(ctx, id)
		return err
	})
}
