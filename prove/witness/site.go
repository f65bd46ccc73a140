// Package witness is a town of real processes, people in it who write and edit,
// and a ledger of what servers promised them in signed receipts. The parts of
// the proof that crash, restore and load servers do something to the town
// while people write, and then hold the servers to the ledger.
//
// Eight people live on the first mail server and write to one reader on the
// second; four of them edit what they wrote. Whoever has no answer asks again
// with the same words. A check demands that the first server has every version
// that it gave a receipt for; Settle demands that every acknowledged message
// stands in the reader's inbox exactly once, in its newest version, and is
// opened to the words that were written.
package witness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const writers, editors = 8, 4

// Site is a town with a tracker, two mail servers, and people.
type Site struct {
	Town *proof.Town
	// One is where the authors live, Two where the reader does.
	One, Two *proof.Server
	// Env are the settings that both run with.
	Env     []string
	Reader  *proof.Person
	Authors []*Author
	// Dir has a directory for each server: tracker, one and two.
	Dir string
	// shown is what the first server showed of its authors' messages so far: a
	// receipt may be on its way for something that was seen already.
	shown map[message.Ref]map[uint64]message.ID
}

// unlimited are settings under which nobody is too fast, and the courier does
// not wait for the dead.
var unlimited = []string{
	"AD_LIMITS__ACCOUNT_BYTES=-1", "AD_LIMITS__ACCOUNT_MESSAGES=-1", "AD_LIMITS__SUBMITS_PER_SECOND=-1", "AD_LIMITS__ALERTS_PER_SECOND=-1",
	"AD_LIMITS__CALLS_PER_SECOND=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_COURIER__FIRST_RETRY=100ms", "AD_COURIER__MAX_RETRY=1s", "AD_LOG__LEVEL=error",
}

// Open builds the programs and starts a town, all below dir.
func Open(ctx context.Context, dir string) (*Site, error) {
	programs, err := proof.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return nil, err
	}
	s := &Site{
		Town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, Dir: dir, Env: unlimited,
		shown: map[message.Ref]map[uint64]message.ID{},
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Site) open(ctx context.Context) (err error) {
	if s.Town.Tracker, err = s.start(ctx, "adtrackd", "tracker"); err != nil {
		return err
	}
	accounts := []string{"--accounts", "open", "--tracker", s.Town.Tracker.Reference}
	if s.One, err = s.start(ctx, "admaild", "one", accounts...); err != nil {
		return err
	}
	if s.Two, err = s.start(ctx, "admaild", "two", accounts...); err != nil {
		return err
	}
	if s.Reader, err = s.Town.Join(ctx, s.Two.Reference); err != nil {
		return err
	}
	rules := &wirev1.PolicyRequest{}
	for n := range writers {
		p, err := s.Town.Join(ctx, s.One.Reference)
		if err != nil {
			return err
		}
		s.Authors = append(s.Authors, &Author{Person: p, name: fmt.Sprintf("writer %d", n), reader: s.Reader.Keys.Chain})
		rules.Rules = append(rules.Rules, &wirev1.Rule{Address: p.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW})
	}
	_, err = s.Reader.Peer.Mailbox().Policy(ctx, rules)
	return err
}

// start makes and starts one server.
func (s *Site) start(ctx context.Context, program, name string, args ...string) (*proof.Server, error) {
	var env []string
	if program == "admaild" {
		env = s.Env
	}
	return s.Town.Programs.Found(ctx, program, filepath.Join(s.Dir, name), args, env...)
}

// Close ends all processes and connections.
func (s *Site) Close() {
	for _, a := range s.Authors {
		a.Client.Close()
	}
	if s.Reader != nil {
		s.Reader.Client.Close()
	}
	for _, p := range []*proof.Server{s.One, s.Two, s.Town.Tracker} {
		if p != nil {
			p.Kill()
		}
	}
}

// Writing lets people write and edit for as long as during runs.
func (s *Site) Writing(ctx context.Context, seed uint64, l *Ledger, during func(context.Context) error) error {
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	errs := make(chan error, writers+editors)
	for n, a := range s.Authors {
		all.Go(func() { errs <- a.write(writing, l) })
		if n < editors {
			all.Go(func() { errs <- a.edit(writing, l, rand.New(rand.NewPCG(seed, uint64(n+1)))) })
		}
	}
	err := during(ctx)
	stop()
	all.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}
