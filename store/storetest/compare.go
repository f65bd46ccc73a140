package storetest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Opener opens the store that is kept in a directory; closing it and opening
// it again must change nothing.
type Opener func(dir string) (m *store.Mail, end func() error, err error)

// Compare runs random calls on a store and on a model, and demands the same
// answers and the same state after each of them. Now and then it closes the
// store and opens it again. A failure shows the shortest sequence found.
func Compare(t *testing.T, open Opener, model func() *store.Mail) {
	w := newWorld(t)
	runs := 0
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		c := &comparison{world: w, open: open, dir: filepath.Join(dir, fmt.Sprint(runs)), model: model(), now: noon()}
		for _, m := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(w.messages)-1), 2, 3, rapid.ID).Draw(rt, "messages") {
			c.letters = append(c.letters, w.messages[m]...)
		}
		c.reopen(rt)
		defer func() { _ = c.end() }()
		for _, p := range w.people[:2] {
			c.both(rt, "join", func(m *store.Mail) string {
				return said(m.Accounts.Join(context.Background(), store.Account{Address: p.Address(), Joined: noon()}, nil))
			})
		}
		rt.Repeat(c.actions())
	})
}

// world is what the calls are about, made once.
type world struct {
	people []*Person
	// messages are all versions of each of a few messages, contradictions among them.
	messages [][]store.Submission
	names    map[message.Address]string
}

func newWorld(t *testing.T) *world {
	w := &world{names: make(map[message.Address]string)}
	for _, name := range []string{"ann", "bob", "cyd"} {
		p := person(t, name)
		w.people = append(w.people, p)
		w.names[p.Address()] = name
	}
	ann, bob, cyd := w.people[0], w.people[1], w.people[2]
	over := noon().Add(10 * time.Minute)
	for _, d := range []struct {
		from  *Person
		draft Draft
	}{
		{ann, Draft{To: []*Person{bob}}},
		{ann, Draft{To: []*Person{bob, cyd, ann}}},
		{bob, Draft{To: []*Person{ann}, Terms: message.Final}},
		{bob, Draft{To: []*Person{ann, bob}, Terms: message.Ephemeral, Expires: over}},
		{cyd, Draft{To: []*Person{ann, bob}}},
		{ann, Draft{Name: "profile"}},
		{ann, Draft{}},
	} {
		w.messages = append(w.messages, versions(t, d.from, d.draft))
	}
	return w
}

// versions writes a message twice, edits it twice differently, and recalls it.
func versions(t *testing.T, p *Person, d Draft) []store.Submission {
	d.Body = "one"
	out := []store.Submission{p.write(t, d)}
	next := func(body string, prev *message.Head) *message.Head {
		e := d
		e.Body, e.Prev, e.Recall = body, prev, body == ""
		s := p.write(t, e)
		out = append(out, s)
		return s.Head
	}
	first := out[0].Head
	if first.Terms != message.Final {
		next("two, on another device", first)
		next("three", next("two", first))
	}
	end := next("", first)
	if first.Name != "" {
		next("again", end)
	}
	return out
}

// comparison is one run.
type comparison struct {
	*world
	// letters are the versions that this run is about: few, so that calls meet.
	letters []store.Submission
	open    Opener
	dir     string
	store   *store.Mail
	end     func() error
	model   *store.Mail
	now     time.Time
	// claimed are tasks that both handed out.
	claimed [][2]store.Task
}

// reopen closes the store, if it is open, and opens it.
func (c *comparison) reopen(t *rapid.T) {
	if c.end != nil {
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if c.store, c.end, err = c.open(c.dir); err != nil {
		t.Fatal(err)
	}
}

// both makes a call on both and compares what they say.
func (c *comparison) both(t *rapid.T, what string, call func(m *store.Mail) string) {
	got, want := call(c.store), call(c.model)
	t.Logf("%s: %s", what, want)
	if got != want {
		t.Fatalf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// actions are the calls to choose from. The empty name runs after each.
func (c *comparison) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":         c.portraits,
		"accounts": c.accounts,
		"alert":    c.alert,
		"blobs":    c.blobs,
		"clock": func(t *rapid.T) {
			c.now = c.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second)
		},
		"copies":   c.copies,
		"expire":   c.expire,
		"mark":     c.mark,
		"reopen":   c.reopen,
		"report":   c.report,
		"serve":    c.serve,
		"settle":   c.settle,
		"submit":   c.submit,
		"tasks":    c.tasks,
		"verdicts": c.verdicts,
	}
}

// said is an error as both must say it: its code.
func said(err error) string {
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, new(message.Code)):
		return err.Error()
	}
	return message.CodeOf(err).Error()
}

func (c *comparison) who(t *rapid.T, what string) message.Address {
	return rapid.SampledFrom(c.people).Draw(t, what).Address()
}

func (c *comparison) letter(t *rapid.T) store.Submission {
	s := c.letters[rapid.IntRange(0, len(c.letters)-1).Draw(t, "letter")]
	s.Now = c.now
	return s
}

func blobRef(t *rapid.T) store.BlobRef {
	return store.BlobRef{ID: message.ID{byte(rapid.IntRange(1, 3).Draw(t, "blob"))}, Size: 100}
}

func (c *comparison) submit(t *rapid.T) {
	var batch []store.Submission
	for range rapid.IntRange(1, 4).Draw(t, "submissions") {
		s := c.letter(t)
		if !s.Head.Tombstone() && rapid.IntRange(0, 4).Draw(t, "attach") == 0 {
			s.Blobs = []store.BlobRef{blobRef(t)}
		}
		s.UnlessFetched = s.Head.Tombstone() && s.Head.Terms == message.Final
		batch = append(batch, s)
	}
	c.both(t, "submit", func(m *store.Mail) string {
		out := ""
		for _, r := range m.Outgoing.Submit(context.Background(), batch) {
			out += fmt.Sprint(said(r.Err), r.Accepted.Again, r.Accepted.At, digest(r.Current), "; ")
		}
		return out
	})
}

func (c *comparison) alert(t *rapid.T) {
	var batch []store.Alert
	for range rapid.IntRange(1, 3).Draw(t, "alerts") {
		s := c.letter(t)
		if len(s.Head.To) == 0 {
			continue
		}
		addressed := rapid.SampledFrom(s.Head.To).Draw(t, "to")
		to := c.people[slices.IndexFunc(c.people, func(p *Person) bool { return p.Address() == addressed })]
		a := alertOf(to, s, rapid.SampledFrom([]store.Folder{store.Inbox, store.Requests}).Draw(t, "folder"))
		a.Origin = message.Address{byte(rapid.IntRange(1, 2).Draw(t, "origin"))}
		a.Caps = rapid.SampledFrom([]store.Caps{{}, {PerSender: 1}, {PerOrigin: 1}, {PerMailbox: 2}, {PerSender: 2, PerOrigin: 2, PerMailbox: 3}}).Draw(t, "caps")
		if rapid.Bool().Draw(t, "prefetch") {
			a.PrefetchAt = c.now.Add(time.Minute)
		}
		batch = append(batch, a)
	}
	c.both(t, "alert", func(m *store.Mail) string {
		out := ""
		for _, r := range m.Incoming.Alert(context.Background(), batch) {
			out += fmt.Sprint(said(r.Err), r.Accepted.Again, r.Accepted.At, "; ")
		}
		return out
	})
}

func (c *comparison) serve(t *rapid.T) {
	ref, after := c.letter(t).Head.Ref(), uint64(rapid.IntRange(0, 3).Draw(t, "after"))
	reader := message.Address{}
	if rapid.Bool().Draw(t, "marked") {
		reader = c.who(t, "reader")
	}
	c.both(t, "serve", func(m *store.Mail) string {
		v, err := store.ServeOne(context.Background(), m.Outgoing, store.ServeItem{Ref: ref, After: after}, reader, c.now)
		return said(err) + portraitOfVersions(v)
	})
}

func (c *comparison) expire(t *rapid.T) {
	limit := rapid.IntRange(0, 2).Draw(t, "limit")
	c.both(t, "expire", func(m *store.Mail) string {
		n, err := m.Outgoing.Expire(context.Background(), c.now, limit)
		return fmt.Sprint(n, said(err))
	})
}

func (c *comparison) report(t *rapid.T) {
	s := c.letter(t)
	r := store.Report{
		Ref: s.Head.Ref(), To: c.who(t, "to"), Version: uint64(rapid.IntRange(0, 3).Draw(t, "version")), Time: c.now,
		State: store.DeliveryState(rapid.IntRange(1, 6).Draw(t, "state")), Reason: message.Code(rapid.IntRange(0, 2).Draw(t, "reason")),
	}
	if n := rapid.IntRange(0, 3).Draw(t, "receipt"); n > 0 {
		r.Receipt = &wirev1.Signed{Body: []byte{byte(n)}}
	}
	c.both(t, "report", func(m *store.Mail) string { return said(m.Deliveries.Report(context.Background(), []store.Report{r})) })
}

func (c *comparison) mark(t *rapid.T) {
	owner := c.who(t, "owner")
	if rapid.IntRange(0, 4).Draw(t, "notice") == 0 {
		n := store.Notice{MID: c.letter(t).Head.MID, To: c.who(t, "to"), Reason: message.Unavailable, Time: c.now}
		c.both(t, "notify", func(m *store.Mail) string { return said(m.Incoming.Notify(context.Background(), owner, n)) })
	}
	flag := func(what string) *bool {
		switch rapid.IntRange(0, 3).Draw(t, what) {
		case 0:
			yes := true
			return &yes
		case 1:
			no := false
			return &no
		}
		return nil
	}
	k := store.Marking{Ref: c.letter(t).Head.Ref(), Read: flag("read"), Archived: flag("archived"), Deleted: flag("deleted")}
	if rapid.Bool().Draw(t, "own") {
		k.Ref.From = owner
	}
	c.both(t, "mark", func(m *store.Mail) string {
		return said(m.Incoming.Mark(context.Background(), owner, []store.Marking{k}))
	})
}

func (c *comparison) copies(t *rapid.T) {
	ctx := context.Background()
	owner, s := c.who(t, "owner"), c.letter(t)
	switch rapid.SampledFrom([]string{"put", "put", "take", "drop"}).Draw(t, "what") {
	case "put":
		k := store.Copy{Ref: s.Head.Ref(), Version: s.Head.Version, Heads: []*wirev1.Signed{s.Head.Signed}, Payload: s.Payload, At: c.now}
		if rapid.Bool().Draw(t, "attach") {
			k.Blobs = []store.BlobRef{blobRef(t)}
		}
		c.both(t, "put copy", func(m *store.Mail) string { return said(m.Copies.PutCopy(ctx, owner, k)) })
	case "take":
		c.both(t, "take copy", func(m *store.Mail) string { return said(m.Copies.TakeCopy(ctx, owner, s.Head.Ref(), s.Head.Version)) })
	case "drop":
		// Copies are taken by the clock on the wall.
		before := rapid.SampledFrom([]time.Time{noon(), time.Now().Add(time.Hour)}).Draw(t, "before")
		limit := rapid.IntRange(0, 3).Draw(t, "limit")
		c.both(t, "drop copies", func(m *store.Mail) string {
			n, err := m.Copies.DropCopies(ctx, before, c.now, limit)
			return fmt.Sprint(n, said(err))
		})
	}
}
