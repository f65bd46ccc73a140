package promise

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
)

// Check compares all that a store shows with what it promised, and takes what
// it shows of what was open for promised from now on. Live says that the store
// is the one that was asked, not one that was opened again: then what failed
// has not happened. The error is one of reading.
func (w *Work) Check(ctx context.Context, s Server, live bool) error {
	found, err := w.read(ctx, s)
	if err != nil {
		return err
	}
	calls := map[*call]bool{}
	for _, i := range w.items {
		w.compare(i, found[i], live)
		if i.open != nil {
			calls[i.open] = true
		}
	}
	for c := range calls {
		w.whole(c, found, live)
	}
	for _, i := range w.items {
		i.sure, i.open = found[i], nil
		i.seen = i.sure.versions
	}
	_, log := s.shared()
	place, err := log.Place(ctx)
	if err == nil && place.Seq < w.seq {
		w.violated("lost: the log stands at %d, promised was %d", place.Seq, w.seq)
	}
	return err
}

// compare holds one item against what was promised.
func (w *Work) compare(i *item, got standing, live bool) {
	switch {
	case got == i.sure || !live && i.open != nil && got == i.maybe:
	case got.versions < i.sure.versions:
		w.violated("lost: %s is at version %d, promised was %d", w.words(i), got.versions, i.sure.versions)
	default:
		w.violated("wrong: %s stands at %+v, promised was %+v, asked for %+v", w.words(i), got, i.sure, i.maybe)
	}
	if got.versions < i.seen {
		w.violated("lost: %s is at version %d, seen was %d", w.words(i), got.versions, i.seen)
	}
}

// whole demands that of an open call all happened or nothing.
func (w *Work) whole(c *call, found map[*item]standing, live bool) {
	happened, open := 0, 0
	for _, i := range c.items {
		if i.open != c || i.maybe == i.sure {
			continue
		}
		if open++; found[i] == i.maybe {
			happened++
		}
	}
	if !live && happened != 0 && happened != open {
		w.violated("half: of a call about %d, %d happened", open, happened)
	}
}

// Again asks for what is there once more, and expects to hear what was said
// first. Every version that was never answered for is asked for, and some others.
func (w *Work) Again(ctx context.Context, s Server) error {
	for at, i := range w.items {
		if i.kind != letter && i.kind != arrival {
			continue
		}
		for n := range i.sure.versions {
			if n < len(i.accepted) && at%8 != int(w.seq%8) {
				continue
			}
			a, err := w.again(ctx, s, i, n+1)
			if err != nil {
				return fmt.Errorf("%s again: %w", w.words(i), err)
			}
			switch {
			case !a.Again:
				w.violated("twice: %s: version %d was there and is taken for new", w.words(i), n+1)
			case n >= len(i.accepted):
				i.accepted = append(i.accepted, a)
			case a.Place != i.accepted[n].Place || !a.At.Equal(i.accepted[n].At):
				w.violated("altered: %s: version %d was taken in at %v, now it is %v", w.words(i), n+1, i.accepted[n], a)
			}
		}
	}
	return nil
}

func (w *Work) again(ctx context.Context, s Server, i *item, version int) (store.Accepted, error) {
	if i.kind == letter {
		r := s.Mail.Outgoing.Submit(ctx, []store.Submission{w.pool.letters[i.n].versions[version-1]})[0]
		return r.Accepted, r.Err
	}
	r := s.Mail.Incoming.Alert(ctx, []store.Alert{w.alert(i, version)})[0]
	return r.Accepted, r.Err
}

// read reads where every item stands.
func (w *Work) read(ctx context.Context, s Server) (map[*item]standing, error) {
	found := make(map[*item]standing, len(w.items))
	var letters []*item
	entries := map[message.Ref]*item{}
	for _, i := range w.items {
		var err error
		switch i.kind {
		case letter:
			letters = append(letters, i)
		case arrival:
			entries[w.pool.arrivals[i.n].ref] = i
		case identity:
			found[i], err = w.readIdentity(ctx, s, i)
		case account:
			_, err = s.Mail.Accounts.Account(ctx, w.pool.owners[i.n].Address())
			found[i], err = one(err)
		case name:
			var c store.NameClaim
			c, err = s.Tracker.Names.Name(ctx, w.pool.names[i.n].Name)
			if err == nil && c != w.pool.names[i.n] {
				w.violated("altered: %s", w.words(i))
			}
			found[i], err = one(err)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.Mail == nil {
		return found, nil
	}
	if err := w.readLetters(ctx, s, letters, found); err != nil {
		return nil, err
	}
	return found, w.readEntries(ctx, s, entries, found)
}

// one is the standing of what is there or not.
func one(err error) (standing, error) {
	if errors.Is(err, message.NotFound) {
		return standing{}, nil
	}
	return standing{versions: 1}, err
}

func (w *Work) readIdentity(ctx context.Context, s Server, i *item) (standing, error) {
	ids, _ := s.shared()
	all := w.pool.records[i.n]
	r, err := ids.Identity(ctx, all[0].Address)
	if errors.Is(err, message.NotFound) {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, err
	}
	if r.Revision < 1 || r.Revision > uint64(len(all)) || !bytes.Equal(r.Route.GetBody(), all[r.Revision-1].Route.GetBody()) {
		w.violated("altered: %s is at revision %d with another route", w.words(i), r.Revision)
	}
	return standing{versions: int(r.Revision)}, nil
}

// readLetters reads all letters with their words, and how far they have come.
func (w *Work) readLetters(ctx context.Context, s Server, letters []*item, found map[*item]standing) error {
	var q store.ServeQuery
	known := map[message.Ref]bool{}
	for _, i := range letters {
		q.Items = append(q.Items, store.ServeItem{Ref: w.pool.letters[i.n].ref})
	}
	for n, res := range s.Mail.Outgoing.Serve(ctx, q) {
		i := letters[n]
		if errors.Is(res.Err, message.NotFound) {
			found[i] = standing{}
			continue
		}
		if res.Err != nil {
			return res.Err
		}
		w.compareVersions(i, res.Versions)
		st := standing{versions: len(res.Versions)}
		x := w.pool.letters[i.n]
		known[x.ref] = true
		deliveries, err := s.Mail.Deliveries.Deliveries(ctx, x.ref)
		if err != nil {
			return err
		}
		if len(deliveries) != 1 || deliveries[0].Version != uint64(st.versions) {
			w.violated("wrong: %s at version %d has deliveries %+v", w.words(i), st.versions, deliveries)
		} else if st.served = deliveries[0].State >= store.Served; !st.served && deliveries[0].NextAttempt.IsZero() {
			w.violated("lost: %s has no alert under way", w.words(i))
		}
		found[i] = st
	}
	for _, p := range w.pool.owners {
		all, more, err := s.Mail.Outgoing.List(ctx, store.ListQuery{From: p.Address(), Limit: plenty})
		if err != nil {
			return err
		}
		for _, l := range all {
			if !known[l.Ref] {
				w.violated("unwritten: a letter %s", l.Ref.MID)
			}
			delete(known, l.Ref)
		}
		if more {
			w.violated("unwritten: more letters than there are")
		}
	}
	for ref := range known {
		w.violated("lost: the letter %s is in no list", ref.MID)
	}
	return nil
}

// plenty is more than there are of anything.
const plenty = 1000

// readEntries reads everybody's mailbox.
func (w *Work) readEntries(ctx context.Context, s Server, entries map[message.Ref]*item, found map[*item]standing) error {
	for _, i := range entries {
		found[i] = standing{}
	}
	for _, p := range w.pool.owners {
		all, more, err := s.Mail.Incoming.Entries(ctx, p.Address(), 0, plenty)
		if err != nil {
			return err
		}
		if more {
			w.violated("unwritten: more entries than there are")
		}
		for _, e := range all {
			i := entries[e.Ref]
			if i == nil || w.pool.arrivals[i.n].owner != p.Address() {
				w.violated("unwritten: an entry %s", e.Ref.MID)
				continue
			}
			if found[i] != (standing{}) {
				w.violated("twice: %s is in the mailbox twice", w.words(i))
			}
			found[i] = w.entry(i, e)
		}
	}
	return nil
}

// entry is where an entry stands.
func (w *Work) entry(i *item, e store.Entry) standing {
	if e.Deleted {
		// What is deleted tells no version; nothing changes it but a newer one.
		st := standing{versions: i.sure.versions, deleted: true}
		return st
	}
	all := w.pool.arrivals[i.n].versions
	if e.Version < 1 || e.Version > uint64(len(all)) {
		w.violated("unwritten: %s is at version %d", w.words(i), e.Version)
		return standing{}
	}
	want := all[e.Version-1]
	if !bytes.Equal(e.Head.GetBody(), want.Head.Signed.GetBody()) ||
		len(want.Slots) > 0 && !bytes.Equal(e.Slot.GetSealed(), want.Slots[0].GetSealed()) {
		w.violated("altered: %s at version %d", w.words(i), e.Version)
	}
	return standing{versions: int(e.Version), folder: e.Folder, read: e.Read}
}
