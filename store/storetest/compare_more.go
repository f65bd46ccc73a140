package storetest

import (
	"context"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func (c *comparison) accounts(t *rapid.T) {
	ctx := context.Background()
	a := c.who(t, "account")
	switch rapid.SampledFrom([]string{"join", "join", "limit", "limit", "free", "remove"}).Draw(t, "what") {
	case "join":
		c.both(t, "join", func(m *store.Mail) string {
			return said(m.Accounts.Join(ctx, store.Account{Address: a, Joined: c.now}, nil))
		})
	case "limit":
		bytes, messages := int64(rapid.IntRange(0, 20_000).Draw(t, "bytes")), int64(rapid.IntRange(0, 5).Draw(t, "messages"))
		c.both(t, "limit", func(m *store.Mail) string {
			return said(m.Accounts.ChangeAccount(ctx, a, store.AccountChange{BytesLimit: &bytes, MessagesLimit: &messages}))
		})
	case "free":
		none := int64(0)
		c.both(t, "free", func(m *store.Mail) string {
			return said(m.Accounts.ChangeAccount(ctx, a, store.AccountChange{BytesLimit: &none, MessagesLimit: &none}))
		})
	case "remove":
		c.both(t, "remove", func(m *store.Mail) string { return said(m.Accounts.RemoveAccount(ctx, a)) })
	}
}

func (c *comparison) verdicts(t *rapid.T) {
	owner, sender := c.who(t, "owner"), c.who(t, "sender")
	v := store.Verdict(rapid.IntRange(0, 2).Draw(t, "verdict"))
	c.both(t, "verdict", func(m *store.Mail) string {
		return said(m.Policies.SetVerdicts(context.Background(), owner, map[message.Address]store.Verdict{sender: v}))
	})
}

func (c *comparison) blobs(t *rapid.T) {
	ctx := context.Background()
	owner, b := c.who(t, "owner"), blobRef(t)
	switch rapid.SampledFrom([]string{"reserve", "reserve", "complete", "complete", "release", "unused"}).Draw(t, "what") {
	case "reserve":
		c.both(t, "reserve", func(m *store.Mail) string { return said(m.BlobIndex.Reserve(ctx, owner, b, c.now)) })
	case "complete":
		c.both(t, "complete", func(m *store.Mail) string { return said(m.BlobIndex.Complete(ctx, owner, b.ID)) })
	case "release":
		c.both(t, "release", func(m *store.Mail) string { return said(m.BlobIndex.Release(ctx, owner, b.ID)) })
	case "unused":
		before := c.now.Add(time.Duration(rapid.IntRange(-600, 1).Draw(t, "before")) * time.Second)
		c.both(t, "unused", func(m *store.Mail) string {
			ids, err := m.BlobIndex.Unused(ctx, before, 10)
			return fmt.Sprint(ids, said(err))
		})
	}
}

func (c *comparison) tasks(t *rapid.T) {
	ctx := context.Background()
	kind := store.TaskKind(rapid.IntRange(1, 3).Draw(t, "kind"))
	if rapid.Bool().Draw(t, "add") {
		k := store.Task{Kind: kind, Ref: c.letter(t).Head.Ref(), Version: uint64(rapid.IntRange(1, 2).Draw(t, "version")), Peer: c.who(t, "peer"), Queued: c.now, Due: c.now}
		if kind == store.TaskReceipt {
			k.Receipt = &wirev1.Signed{Body: []byte{byte(rapid.IntRange(1, 2).Draw(t, "receipt"))}}
		}
		c.both(t, "add task", func(m *store.Mail) string { return said(m.Tasks.AddTasks(ctx, []store.Task{k})) })
		return
	}
	limit := rapid.IntRange(0, 3).Draw(t, "limit")
	var got [2][]store.Task
	n := 0
	c.both(t, "claim", func(m *store.Mail) string {
		l, err := m.Tasks.Claim(ctx, kind, c.now, time.Minute, limit)
		got[n] = l
		n++
		out := said(err)
		for _, k := range l {
			out += fmt.Sprint("; ", k.Kind, k.Ref, k.Version, k.Peer, digest(k.Receipt), k.Queued, k.Attempts, k.Noticed, k.Due)
		}
		return out
	})
	for i := range got[0] {
		c.claimed = append(c.claimed, [2]store.Task{got[0][i], got[1][i]})
	}
}

func (c *comparison) settle(t *rapid.T) {
	if len(c.claimed) == 0 {
		t.Skip("nothing is claimed")
	}
	pair := rapid.SampledFrom(c.claimed).Draw(t, "task")
	o := store.Outcome{Version: pair[0].Version, Done: rapid.Bool().Draw(t, "done"), Retry: c.now.Add(time.Minute), Noticed: rapid.Bool().Draw(t, "noticed")}
	n := 0
	c.both(t, "settle", func(m *store.Mail) string {
		o.ID = pair[n].ID
		n++
		return said(m.Tasks.Settle(context.Background(), []store.Outcome{o}))
	})
}

// digest is the beginning of a statement's hash.
func digest(s *wirev1.Signed) string {
	if s == nil {
		return "-"
	}
	id := crypto.ID("head", s.GetBody())
	return fmt.Sprintf("%x", id[:4])
}

func portraitOfVersions(v []store.Version) string {
	out := ""
	for _, x := range v {
		out += fmt.Sprintf(" (%d %x %v %v %s slots %d payload %d blobs %v)", x.Number, x.ID[:4], x.Tombstone, x.At, digest(x.Head), len(x.Slots), len(x.Payload), x.Blobs)
	}
	return out
}

// portraits compares all that can be read.
func (c *comparison) portraits(t *rapid.T) {
	got, want := c.portrait(c.store), c.portrait(c.model)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("state:\n got %s\nwant %s", got[i], want[i])
		}
	}
}

// portrait is everything that can be read, in words, line by line. Places in
// the log are left out: they need only rise.
func (c *comparison) portrait(m *store.Mail) []string {
	var out []string
	for _, p := range c.people {
		out = append(out, c.portraitOf(m, p.Address())...)
	}
	for _, s := range c.letters {
		if s.Head.Version == 1 {
			out = append(out, c.portraitOfMessage(m, s.Head.Ref())...)
		}
	}
	for kind := store.TaskAlert; kind <= store.TaskPrefetch; kind++ {
		due, err := m.Tasks.NextDue(context.Background(), kind)
		out = append(out, fmt.Sprint("next due ", kind, due, said(err)))
	}
	return out
}

func (c *comparison) portraitOf(m *store.Mail, a message.Address) []string {
	ctx := context.Background()
	account, err := m.Accounts.Account(ctx, a)
	out := []string{fmt.Sprintf("%s: %+v %s", c.names[a], account, said(err))}
	verdicts, err := m.Policies.Verdicts(ctx, a)
	out = append(out, fmt.Sprint("verdicts ", verdicts, said(err)))
	evidence, err := m.Identities.Evidence(ctx, a)
	line := fmt.Sprint("evidence ", said(err))
	for _, pair := range evidence {
		line += digest(pair[0]) + digest(pair[1])
	}
	out = append(out, line, c.portraitOfInbox(m, a))
	for _, q := range []store.ListQuery{{}, {Public: true}, {To: c.people[1].Address()}} {
		line, after := "list", uint64(0)
		for more := true; more; {
			q.From, q.After, q.Limit = a, after, 2
			var items []store.ListItem
			items, more, err = m.Outgoing.List(ctx, q)
			line += said(err)
			for _, i := range items {
				line += fmt.Sprint(" ", i.Ref.MID, portraitOfVersions(i.Versions))
				after = i.Seq
			}
		}
		out = append(out, line)
	}
	return out
}

// portraitOfInbox is an inbox, page by page.
func (c *comparison) portraitOfInbox(m *store.Mail, a message.Address) string {
	out, after := "inbox", uint64(0)
	for more := true; more; {
		var page []store.Entry
		var err error
		page, more, err = m.Incoming.Entries(context.Background(), a, after, 3)
		out += said(err)
		for _, e := range page {
			if e.Seq <= after {
				out += " OUT OF ORDER"
			}
			after = e.Seq
			out += fmt.Sprint(" (", c.names[e.Ref.From], e.Ref.MID, e.Version, digest(e.Head), e.Slot != nil, e.Origin[0], e.Arrived, e.Folder, e.Read, e.Deleted)
			if e.Notice != nil {
				out += fmt.Sprintf("%+v", *e.Notice)
			}
			out += ")"
		}
	}
	return out
}

func (c *comparison) portraitOfMessage(m *store.Mail, ref message.Ref) []string {
	ctx := context.Background()
	versions, err := m.Outgoing.Versions(ctx, ref)
	out := []string{fmt.Sprint("message ", ref.MID, said(err), portraitOfVersions(versions))}
	deliveries, err := m.Deliveries.Deliveries(ctx, ref)
	line := "deliveries " + said(err)
	for _, d := range deliveries {
		line += fmt.Sprint(" (", c.names[d.To], d.State, d.Version, d.Time, d.Reason, d.Attempts, d.NextAttempt, d.Overdue)
		for _, r := range d.Receipts {
			line += digest(r)
		}
		line += ")"
	}
	out = append(out, line)
	for _, p := range c.people {
		k, err := m.Copies.Copy(ctx, p.Address(), ref)
		out = append(out, fmt.Sprint("copy ", said(err), k.Version, len(k.Heads), len(k.Payload), k.Blobs, k.At, k.Taken))
	}
	line = "blobs used"
	for n := range byte(4) {
		used, err := m.BlobIndex.Used(ctx, ref, message.ID{n})
		line += fmt.Sprint(" ", used, said(err))
	}
	return append(out, line)
}
