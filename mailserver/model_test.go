package mailserver_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// modelled is what a message must be by the rules alone.
type modelled struct {
	heads   []*message.Head
	texts   []string
	readers []*person
	final   bool
	fetched bool
}

func (m *modelled) newest() *message.Head { return m.heads[len(m.heads)-1] }
func (m *modelled) recalled() bool        { return m.newest().Tombstone() }

// TestModel lets an author and readers on two servers do whatever comes to
// their minds, and compares every answer, and what everybody sees in the end,
// with the rules.
func TestModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one", unlimited), w.host("two", unlimited)
	ann, bob, carl, eve := w.person("ann", one), w.person("bob", two), w.person("carl", one), w.person("eve", two)
	bob.allow(ann)
	carl.allow(ann)
	rapid.Check(t, func(rt *rapid.T) {
		var all []*modelled
		choose := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
		pick := func() *modelled { return all[choose(len(all), "message")] }
		acts := map[string]func(){
			"send": func() {
				m := &modelled{final: rapid.Bool().Draw(rt, "final"), readers: []*person{bob}, texts: []string{fmt.Sprint("message ", len(all))}}
				if rapid.Bool().Draw(rt, "to both") {
					m.readers = append(m.readers, carl)
				}
				d := message.Draft{Terms: message.Revisable}
				if m.final {
					d.Terms = message.Final
				}
				m.heads = append(m.heads, ann.send(ann.draft(d, m.texts[0], m.readers...)))
				all = append(all, m)
			},
			"edit": func() {
				m := pick()
				prev := *m.heads[choose(len(m.heads), "on")]
				stale := prev.ID != m.newest().ID
				wasStone := prev.Tombstone()
				// Seal would refuse what the server must refuse.
				prev.Kind, prev.Terms = message.KindContent, message.Revisable
				text := fmt.Sprint("edit ", len(m.heads))
				s := ann.draft(message.Draft{Prev: &prev}, text, m.readers...)
				_, err := ann.trySend(s)
				switch {
				case stale:
					expect(rt, "a stale edit", err, message.Conflict)
				case wasStone:
					expect(rt, "an edit after a recall", err, message.Recalled)
				case m.final:
					expect(rt, "an edit of a final message", err, message.Contract, message.Invalid)
				default:
					expect(rt, "an edit", err, 0)
					m.heads, m.texts = append(m.heads, s.Head), append(m.texts, text)
				}
			},
			"recall": func() {
				m := pick()
				if m.recalled() {
					return
				}
				s := ann.recall(m.newest())
				_, err := ann.trySend(s)
				if m.final && m.fetched {
					expect(rt, "a recall of what was fetched", err, message.AlreadyFetched)
					return
				}
				expect(rt, "a recall", err, 0)
				m.heads, m.texts = append(m.heads, s.Head), append(m.texts, "(recalled)")
			},
			"fetch": func() {
				m := pick()
				reader := []*person{bob, carl, eve, ann}[choose(4, "reader")]
				after := rapid.IntRange(0, len(m.heads)).Draw(rt, "after")
				r, err := reader.fetch(m.newest().Ref(), uint64(after))
				addressed := reader == ann
				for _, p := range m.readers {
					addressed = addressed || p == reader
				}
				if !addressed {
					expect(rt, "a stranger's fetch", err, message.NotFound)
					return
				}
				expect(rt, "a fetch", err, 0)
				m.fetched = m.fetched || (reader != ann && !m.recalled())
				if len(r.GetHeads()) != len(m.heads)-after {
					rt.Fatalf("%d heads after %d, of %d", len(r.GetHeads()), after, len(m.heads))
				}
				if len(r.GetHeads()) == 0 {
					return
				}
				if got := reader.open(ann, r); got != m.texts[len(m.texts)-1] {
					rt.Fatalf("reads %q, not %q", got, m.texts[len(m.texts)-1])
				}
			},
		}
		acts["send"]()
		for range rapid.IntRange(1, 10).Draw(rt, "steps") {
			acts[rapid.SampledFrom([]string{"send", "edit", "edit", "recall", "fetch", "fetch"}).Draw(rt, "act")]()
		}
		for _, m := range all {
			for _, p := range m.readers {
				e := p.patiently(m.newest())
				if e == nil {
					d := ann.status(m.newest().MID, p)
					rt.Fatalf("version %d never came: %v, version %d, %d attempts", m.newest().Version, d.GetState(), d.GetVersion(), d.GetAttempts())
				}
				if e.GetFolder() != wirev1.Folder_FOLDER_INBOX {
					rt.Fatalf("in %v", e.GetFolder())
				}
			}
			if e := eve.entry(m.newest().Ref()); e != nil {
				rt.Fatal("a stranger sees it")
			}
		}
	})
}

// expect demands one of some codes, or success with 0.
func expect(rt *rapid.T, what string, err error, codes ...message.Code) {
	rt.Helper()
	for _, c := range codes {
		if (c == 0 && err == nil) || (err != nil && message.CodeOf(err) == c) {
			return
		}
	}
	rt.Fatalf("%s: %v, want %v", what, err, codes)
}
