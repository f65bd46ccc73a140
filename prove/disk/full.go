package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
)

const (
	// patience is how long after there is room a write must be taken.
	patience = 10 * time.Second
	// many is more letters than there is ever room for.
	many = 4000
)

// tally is what the real server went through.
type tally struct {
	rounds, cycles, files, handles int
	receipts                       int
	// slowest is the longest that anything took to recover.
	slowest    time.Duration
	violations []string
	skipped    string
}

// server runs all that is done to the real server, n full disks among it.
func server(ctx context.Context, o proof.Options, programs proof.Programs, n int) (tally, error) {
	t := tally{}
	data := filepath.Join(o.Dir, "small")
	unmount, err := mount(data)
	if errors.Is(err, errMay) {
		t.skipped = "full disk skipped: no right to mount"
		err = os.MkdirAll(data, 0o700)
		unmount = func() error { return nil }
	}
	if err != nil {
		return t, err
	}
	defer func() { _ = unmount() }() // the directory is removed after, or says why not
	for t.rounds < n && err == nil {
		err = t.serve(ctx, o, programs, data, min(generation, n-t.rounds))
	}
	return t, err
}

// generation is after how many full disks there is a new server: the mail of
// more would fill the disk for good.
const generation = 25

// serve runs some rounds with one server.
func (t *tally) serve(ctx context.Context, o proof.Options, programs proof.Programs, data string, rounds int) error {
	dir := filepath.Join(o.Dir, fmt.Sprintf("site%d", t.rounds))
	home := filepath.Join(data, filepath.Base(dir))
	s, err := settle(ctx, programs, dir, home)
	if err != nil {
		return err
	}
	defer s.close()
	for n := range rounds {
		if t.skipped == "" {
			if err := s.cycle(ctx, t, func() (func() error, error) { return fill(filepath.Join(data, "filler")) }); err != nil {
				return fmt.Errorf("full disk: %w", err)
			}
			t.cycles++
		}
		if n%10 == 0 {
			if err := s.limits(ctx, t); err != nil {
				return err
			}
		}
		if t.rounds++; t.rounds%10 == 0 {
			fmt.Fprintf(o.Said, "disk: %d full disks, %d letters, slowest %s\n", t.cycles, t.receipts+len(s.owed), t.slowest.Round(time.Millisecond))
		}
	}
	err = s.again(ctx)
	t.receipts += len(s.owed)
	t.violations = append(t.violations, s.violations...)
	s.close()
	return errors.Join(err, os.RemoveAll(home))
}

// fill takes all room there is.
func fill(path string) (free func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	// By ever smaller pieces, so that nothing is left.
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			return nil, errors.Join(err, f.Close())
		}
		size /= 2
	}
	return func() error { return os.Remove(path) }, f.Close()
}

// cycle takes the room away, has ann write until she is told that there is
// none, looks whether reading goes on, gives the room back, and waits for a
// write to be taken.
func (s *site) cycle(ctx context.Context, t *tally, take func() (func() error, error)) error {
	give, err := take()
	if err != nil {
		return err
	}
	refusals := 0
	for n := 0; n < many && refusals < 3; n++ {
		err := s.write(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), give())
		case err == nil:
			continue
		case !errors.Is(err, message.StorageFull):
			s.violated("without room a letter is refused with: %v", err)
		}
		refusals++
	}
	if refusals == 0 {
		s.violated("%d letters were taken without room", many)
	}
	if err := s.look(ctx); err != nil {
		s.violated("without room reading fails: %v", err)
	}
	if err := give(); err != nil {
		return err
	}
	return s.recovers(ctx, t)
}

// recovers waits until a letter is taken, and holds the server to everything.
func (s *site) recovers(ctx context.Context, t *tally) error {
	begun := time.Now()
	for {
		err := s.write(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begun) > patience {
			s.violated("%s after there is room: %v", patience, err)
			return fmt.Errorf("does not recover: %w", err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	t.slowest = max(t.slowest, time.Since(begun))
	if err := s.look(ctx); err != nil {
		s.violated("with room again reading fails: %v", err)
	}
	return nil
}

// limits lowers what the process may do, and raises it again.
func (s *site) limits(ctx context.Context, t *tally) error {
	err := s.cycle(ctx, t, func() (func() error, error) {
		info, err := os.Stat(filepath.Join(s.data, "data.db-wal"))
		if err != nil {
			return nil, err
		}
		return limit(s.server.Pid(), syscall.RLIMIT_FSIZE, uint64(info.Size())+64<<10)
	})
	if err != nil {
		return fmt.Errorf("file size: %w", err)
	}
	t.files++
	if err := s.crowd(ctx, t); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	t.handles++
	return nil
}

// handles is how many descriptors the server may have in a crowd.
const handles = 128

// crowd lets the server have few descriptors, and takes all of them by
// connections that say nothing. Whoever was connected goes on.
func (s *site) crowd(ctx context.Context, t *tally) error {
	back, err := limit(s.server.Pid(), syscall.RLIMIT_NOFILE, handles)
	if err != nil {
		return err
	}
	var held []net.Conn
	at := strings.TrimPrefix(s.server.Reference, "https://")
	at, _, _ = strings.Cut(at, "#")
	for range 2 * handles {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(ctx, "tcp", at)
		if err != nil {
			break // the queue is full too
		}
		held = append(held, c)
	}
	for range 20 {
		if err := s.write(ctx); err != nil {
			s.violated("in a crowd a letter is refused with: %v", err)
		}
	}
	if err := s.look(ctx); err != nil {
		s.violated("in a crowd reading fails: %v", err)
	}
	for _, c := range held {
		_ = c.Close() // nothing was said on it
	}
	err = s.recovers(ctx, t)
	// Somebody new gets in, with as few descriptors.
	if p, err := s.town.Join(ctx, s.server.Reference); err != nil {
		s.violated("after a crowd nobody new gets in: %v", err)
	} else {
		p.Client.Close()
	}
	return errors.Join(err, back())
}

// again ends the server in order, starts it, and looks once more.
func (s *site) again(ctx context.Context) error {
	if err := s.server.Stop(); err != nil {
		return err
	}
	if err := s.server.Start(unhurried...); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		s.violated("after a start reading fails: %v", err)
	}
	return nil
}
