// Crash kills real servers at random moments and holds them to their receipts.
//
// Eight people on one mail server write to somebody on another, four of them
// edit what they wrote meanwhile, and every so often one server or both end by
// SIGKILL and start again. Whoever had no answer asks again with the same
// words. The harness keeps every signed receipt, checks its signature, and
// demands after each start that the server that gave it has the version that it
// names. At the end, when all alerts were brought, every acknowledged message
// must stand in the reader's inbox exactly once, in its newest version, and be
// opened to the words that were written.
//
// The control deletes one acknowledged version from the stopped server's
// database; the same checks must miss it.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// full is how many kills the figure stands on; a hundred receipts each come
	// by themselves.
	full     = 1000
	writers  = 8
	editors  = 4
	settling = 3 * time.Minute
)

// A server is killed this long after it began to answer.
const (
	soonest = 5 * time.Millisecond
	latest  = 500 * time.Millisecond
)

func main() {
	proof.Main(proof.Part{Name: "crash", Full: full, Run: run})
}

// site is the tracker, the two servers and the people on them.
type site struct {
	town     *proof.Town
	one, two *proof.Server
	env      []string
	reader   *proof.Person
	authors  []*author
	// shown is what the first server showed of its authors' messages so far: a
	// receipt may be on its way for something that was seen already.
	shown map[message.Ref]map[uint64]message.ID
	dir   string
}

func run(ctx context.Context, o proof.Options) (proof.Figure, error) {
	s, err := open(ctx, o.Dir)
	if err != nil {
		return proof.Figure{}, err
	}
	defer s.close()
	l := newLedger()
	choose := rand.New(rand.NewPCG(o.Seed, 0))
	if err := s.strike(ctx, o, l, choose); err != nil {
		return proof.Figure{}, err
	}
	if err := s.settle(ctx, l); err != nil {
		return proof.Figure{}, err
	}
	f := proof.Figure{Words: l.words(o.N), Violations: l.violations}
	caught, err := s.control(ctx, l)
	if err != nil {
		return f, fmt.Errorf("control: %w", err)
	}
	if !caught {
		f.Violations = append(f.Violations, "the control, a version deleted from the database, was not missed")
	}
	if receipts := l.receipts(); o.N >= full && receipts < 100*o.N {
		f.Violations = append(f.Violations, fmt.Sprintf("%d receipts are too few for %d kills", receipts, o.N))
	}
	f.Words += ", control caught"
	return f, nil
}

// open builds the programs and starts a town.
func open(ctx context.Context, dir string) (*site, error) {
	programs, err := proof.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return nil, err
	}
	s := &site{town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, dir: dir, shown: map[message.Ref]map[uint64]message.ID{}, env: []string{
		"AD_LIMITS__ACCOUNT_BYTES=-1", "AD_LIMITS__ACCOUNT_MESSAGES=-1", "AD_LIMITS__SUBMITS_PER_SECOND=-1", "AD_LIMITS__ALERTS_PER_SECOND=-1",
		"AD_LIMITS__CALLS_PER_SECOND=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_COURIER__FIRST_RETRY=100ms", "AD_COURIER__MAX_RETRY=1s", "AD_LOG__LEVEL=error",
	}}
	opened := false
	defer func() {
		if !opened {
			s.close()
		}
	}()
	if s.town.Tracker, err = s.start(ctx, "adtrackd", "tracker", nil); err != nil {
		return nil, err
	}
	accounts := []string{"--accounts", "open", "--tracker", s.town.Tracker.Reference}
	if s.one, err = s.start(ctx, "admaild", "one", s.env, accounts...); err != nil {
		return nil, err
	}
	if s.two, err = s.start(ctx, "admaild", "two", s.env, accounts...); err != nil {
		return nil, err
	}
	if s.reader, err = s.town.Join(ctx, s.two.Reference); err != nil {
		return nil, err
	}
	rules := &wirev1.PolicyRequest{}
	for n := range writers {
		p, err := s.town.Join(ctx, s.one.Reference)
		if err != nil {
			return nil, err
		}
		s.authors = append(s.authors, &author{Person: p, name: fmt.Sprintf("writer %d", n), reader: s.reader.Keys.Chain})
		rules.Rules = append(rules.Rules, &wirev1.Rule{Address: p.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW})
	}
	_, err = s.reader.Peer.Mailbox().Policy(ctx, rules)
	opened = err == nil
	return s, err
}

// start makes and starts one server.
func (s *site) start(ctx context.Context, program, name string, env []string, args ...string) (*proof.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, name)
	if _, err := s.town.Programs.Run(ctx, program, append([]string{"init", "--dir", dir, "--listen", at}, args...)...); err != nil {
		return nil, err
	}
	return s.town.Programs.Serve(program, []string{"serve", "--dir", dir}, env...)
}

func (s *site) close() {
	for _, a := range s.authors {
		a.Client.Close()
	}
	if s.reader != nil {
		s.reader.Client.Close()
	}
	for _, p := range []*proof.Server{s.one, s.two, s.town.Tracker} {
		if p != nil {
			p.Kill()
		}
	}
}

// strike lets people write while servers are killed, o.N times.
func (s *site) strike(ctx context.Context, o proof.Options, l *ledger, choose *rand.Rand) error {
	writing, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	errs := make(chan error, writers+editors)
	for n, a := range s.authors {
		all.Go(func() { errs <- a.write(writing, l) })
		if n < editors {
			all.Go(func() { errs <- a.edit(writing, l, rand.New(rand.NewPCG(o.Seed, uint64(n+1)))) })
		}
	}
	err := s.kills(ctx, o, l, choose)
	stop()
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// kills ends servers and starts them again, and checks what they promised.
func (s *site) kills(ctx context.Context, o proof.Options, l *ledger, choose *rand.Rand) error {
	for n := range o.N {
		wait := time.NewTimer(soonest + time.Duration(choose.Int64N(int64(latest-soonest))))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
		dead := [][]*proof.Server{{s.one}, {s.one}, {s.one}, {s.two}, {s.one, s.two}}[choose.IntN(5)]
		for _, p := range dead {
			p.Kill()
		}
		promised := l.receipts()
		for _, p := range dead {
			if err := p.Start(s.env...); err != nil {
				return fmt.Errorf("after kill %d: %w", n+1, err)
			}
		}
		if dead[0] == s.one {
			if err := s.check(ctx, l); err != nil {
				return fmt.Errorf("check after kill %d: %w", n+1, err)
			}
		}
		if (n+1)%50 == 0 {
			fmt.Fprintf(o.Said, "crash: %d kills, %d receipts, %d violations\n", n+1, promised, len(l.violations))
		}
	}
	return nil
}
