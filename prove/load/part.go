package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// owner is somebody who watches an inbox.
type owner = message.Identity

// connect lets all watchers begin.
func (l *load) connect(ctx context.Context) error {
	refused, err := l.gather(ctx, l.o.N)
	for _, why := range refused {
		l.violated("%s", why)
	}
	l.say("%d watchers wait", l.o.N-len(refused))
	return err
}

// gather starts crowds of n watchers in all and returns who was refused.
func (l *load) gather(ctx context.Context, n int) (refused []string, err error) {
	for i := range crowds {
		first := n * i / crowds
		watchers := n*(i+1)/crowds - first
		m, err := gather(crowdArg, crowdJob{
			Server: l.town.mail.Reference, Tracker: l.town.Tracker.Reference, Author: l.town.author.Address().Bytes(),
			First: first, Watchers: watchers, Inboxes: min(inboxes, watchers/4),
		})
		if err != nil {
			return nil, err
		}
		l.crowds = append(l.crowds, m)
	}
	for _, m := range l.crowds {
		var r crowdReady
		if err := m.from.Decode(&r); err != nil {
			return nil, fmt.Errorf("a crowd: %w", err)
		}
		refused = append(refused, r.Refused...)
		for _, b := range r.Owners {
			var w wirev1.Identity
			if err := proto.Unmarshal(b, &w); err != nil {
				return nil, err
			}
			i, err := message.OpenIdentity(l.town.Verifier, &w, nil)
			if err != nil {
				return nil, err
			}
			l.owners = append(l.owners, i)
		}
	}
	return refused, ctx.Err()
}

// leave ends the crowds.
func (l *load) leave() {
	for _, m := range l.crowds {
		m.leave()
	}
	l.crowds = nil
}

// wake makes one post, or one letter to all inboxes, and returns when the last was
// awake. Those who are not are violations.
func (l *load) wake(ctx context.Context, letter bool) (time.Duration, error) {
	missing, last, err := l.event(ctx, letter)
	if err != nil {
		return 0, err
	}
	if missing > 0 {
		l.violated("%d watchers did not wake", missing)
	}
	if last > awake {
		l.violated("the last watcher was awake after %s", last)
	}
	l.say("all awake after %s", round(last))
	return last, nil
}

// event makes one, and looks who was woken by it.
func (l *load) event(ctx context.Context, letter bool) (missing int, last time.Duration, err error) {
	var readers []*message.Chain
	if letter {
		for _, o := range l.owners {
			readers = append(readers, o.Chain)
		}
	}
	if letter && len(readers) == 0 {
		return 0, 0, nil
	}
	p, err := post(ctx, l.town.author, readers...)
	if err != nil {
		return 0, 0, err
	}
	for _, m := range l.crowds {
		// Patience is for being told how late the last was, not for being late.
		said, err := m.ask(crowdAsk{Seq: p.seq, Inboxes: letter, Patience: int(10 * awake / time.Millisecond)})
		if err != nil {
			return 0, 0, fmt.Errorf("a crowd: %w", err)
		}
		for _, at := range said.At {
			if at == 0 {
				missing++
				continue
			}
			last = max(last, time.Unix(0, at).Sub(p.begun))
		}
	}
	return missing, last, nil
}

// storm lets one rage while healthy people go on.
func (l *load) storm(ctx context.Context) (stormy []time.Duration, said stormSaid, err error) {
	s, err := gather(stormArg, stormJob{Server: l.town.mail.Reference, Tracker: l.town.Tracker.Reference, Millis: int(raging / time.Millisecond)})
	if err != nil {
		return nil, said, err
	}
	defer s.leave()
	var ready bool
	if err := errors.Join(s.from.Decode(&ready), s.to.Encode(true)); err != nil {
		return nil, said, fmt.Errorf("a storm: %w", err)
	}
	l.say("a storm")
	stormy = l.healthy.use(ctx, raging)
	if err := s.from.Decode(&said); err != nil {
		return nil, said, fmt.Errorf("a storm: %w", err)
	}
	l.say("%d calls; submits %v, alerts %v", said.Calls, said.Submits, said.Alerts)
	return stormy, said, nil
}

// judgeStorm demands that a storm was answered, refused by limits, and by nothing
// else.
func judgeStorm(said stormSaid) (violations []string) {
	limited, full := fmt.Sprint(message.RateLimited), fmt.Sprint(message.NotAccepted)
	for name, outcomes := range map[string]map[string]int{"submits": said.Submits, "alerts": said.Alerts} {
		for outcome, n := range outcomes {
			if outcome != taken && outcome != limited && (outcome != full || name != "alerts") {
				violations = append(violations, fmt.Sprintf("storm: %d %s ended with %q", n, name, outcome))
			}
		}
		if outcomes[taken] == 0 || outcomes[limited] == 0 {
			violations = append(violations, fmt.Sprintf("storm: of %s %d were taken and %d limited: that is no storm", name, outcomes[taken], outcomes[limited]))
		}
	}
	return violations
}

// refusals is how many items and calls of a storm were refused.
func refusals(said stormSaid) (n int) {
	for _, outcomes := range []map[string]int{said.Submits, said.Alerts} {
		for outcome, times := range outcomes {
			if outcome != taken {
				n += times
			}
		}
	}
	return n
}

// slack is what comes and goes by itself: a renewed connection, a timer.
const slack = 8

// settled demands that the server holds no more than before, in the end.
func (l *load) settled(ctx context.Context, before vital) {
	for end := time.Now().Add(patience); ; {
		now, err := l.town.vitals(ctx)
		switch {
		case err != nil:
			l.violated("metrics: %v", err)
			return
		case now.panics != 0:
			l.violated("%d panics", now.panics)
			return
		case now.goroutines <= before.goroutines+slack && now.descriptors <= before.descriptors+slack:
			return
		case time.Now().After(end):
			l.violated("not back to %+v: %+v", before, now)
			return
		}
		if pause(ctx, time.Second) != nil {
			return
		}
	}
}

// controls puts faults in on purpose, on a small server of their own.
func (l *load) controls(ctx context.Context, programs proof.Programs) error {
	const watchers, allowed = 16, 12
	t, err := openTown(ctx, programs, filepath.Join(l.o.Dir, "controls"), fmt.Sprintf("AD_LIMITS__WATCHERS=%d", allowed),
		"AD_LIMITS__CALLS_PER_SECOND=2", "AD_LIMITS__CALL_BURST=8")
	if err != nil {
		return err
	}
	defer t.close()
	c := &load{o: l.o, town: t}
	defer c.leave()
	missed := func(format string, args ...any) { l.violated("the control: "+format, args...) }
	refused, err := c.gather(ctx, watchers)
	if err != nil {
		return err
	}
	if len(refused) != watchers-allowed {
		missed("%d of %d watchers were let in, and %d found missing: %v", allowed, watchers, len(refused), refused)
	}
	none, _, err := c.event(ctx, false)
	if err != nil {
		return err
	}
	if _, err := c.crowds[0].ask(crowdAsk{Cut: true}); err != nil {
		return err
	}
	cut, _, err := c.event(ctx, false)
	if err != nil {
		return err
	}
	if cut != none+1 {
		missed("one watcher was cut off, and %d are missing, %d before", cut, none)
	}
	c.leave()
	h, err := newHealthy(ctx, t)
	if err != nil {
		return err
	}
	defer h.close()
	if h.use(ctx, time.Second); len(h.failed) == 0 {
		missed("healthy people were limited, and nothing is said to have failed")
	}
	return c.late(ctx, missed)
}

// late stops the server for a while: it must show.
func (l *load) late(ctx context.Context, missed func(string, ...any)) error {
	if _, err := l.gather(ctx, crowds); err != nil {
		return err
	}
	pid := l.town.mail.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	resume := time.AfterFunc(awake+awake/2, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	defer resume.Stop()
	_, last, err := l.event(ctx, false)
	if err != nil {
		return err
	}
	if last <= awake {
		missed("the server was stopped for longer than watchers may wait, and all were awake after %s", last)
	}
	return nil
}
