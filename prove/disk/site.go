package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// site is a tracker, a mail server whose directory lies on the small file
// system, and two people on it.
type site struct {
	town     *proof.Town
	server   *proof.Server
	ann, bob *proof.Person
	// data is the server's directory.
	data string

	// owed are the versions that there are receipts for.
	owed map[message.ID]bool
	// read is a message that bob has fetched before.
	read       message.Ref
	violations []string
}

// unhurried are settings under which nobody is too fast.
var unhurried = []string{
	"AD_LIMITS__ACCOUNT_BYTES=-1", "AD_LIMITS__ACCOUNT_MESSAGES=-1", "AD_LIMITS__SUBMITS_PER_SECOND=-1", "AD_LIMITS__ALERTS_PER_SECOND=-1",
	"AD_LIMITS__CALLS_PER_SECOND=-1", "AD_LIMITS__NETWORK_PER_SECOND=-1", "AD_COURIER__FIRST_RETRY=100ms", "AD_COURIER__MAX_RETRY=1s", "AD_LOG__LEVEL=error",
}

// settle starts everything, with the mail server in data.
func settle(ctx context.Context, programs proof.Programs, dir, data string) (*site, error) {
	s := &site{town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, data: data, owed: map[message.ID]bool{}}
	if err := s.start(ctx, dir); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *site) start(ctx context.Context, dir string) (err error) {
	if s.town.Tracker, err = s.serve(ctx, "adtrackd", filepath.Join(dir, "tracker")); err != nil {
		return err
	}
	if s.server, err = s.serve(ctx, "admaild", s.data, "--accounts", "open", "--tracker", s.town.Tracker.Reference); err != nil {
		return err
	}
	if s.ann, err = s.town.Join(ctx, s.server.Reference); err != nil {
		return err
	}
	if s.bob, err = s.town.Join(ctx, s.server.Reference); err != nil {
		return err
	}
	_, err = s.bob.Peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: s.ann.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}}})
	if err != nil {
		return err
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	return s.look(ctx)
}

// serve makes and starts one server.
func (s *site) serve(ctx context.Context, program, dir string, args ...string) (*proof.Server, error) {
	var env []string
	if program == "admaild" {
		env = unhurried
	}
	return s.town.Programs.Found(ctx, program, dir, args, env...)
}

// close ends everything.
func (s *site) close() {
	for _, p := range []*proof.Person{s.ann, s.bob} {
		if p != nil {
			p.Client.Close()
		}
	}
	for _, p := range []*proof.Server{s.server, s.town.Tracker} {
		if p != nil {
			p.Kill()
		}
	}
}

// violated notes what should not be.
func (s *site) violated(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// letter is how long a letter is: short, so that a hundred full disks leave room
// for the mail of all.
const letter = 200

// write has ann submit one new letter, and keeps the receipt.
func (s *site) write(ctx context.Context) error {
	text := make([]byte, letter)
	for i := range text {
		text[i] = 'a'
	}
	d := message.Draft{
		Author: s.ann.Keys.Chain, Readers: []*message.Chain{s.bob.Keys.Chain}, Time: time.Now(), Terms: message.Revisable,
		Audience: message.Private, Content: &message.Content{},
	}
	d.Content.Set(message.TypeText, text)
	var err error
	if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
		return err
	}
	v, err := message.Seal(d, s.ann.Keys.Signer, crand.Reader)
	if err != nil {
		return err
	}
	res, err := s.ann.Peer.Mailbox().Submit(ctx, &wirev1.SubmitRequest{
		Submissions: []*wirev1.Submission{{Head: v.Head.Signed, Slots: v.Slots, Payload: v.Payload}},
	})
	if err != nil {
		return err
	}
	if len(res.GetResults()) != 1 {
		return fmt.Errorf("%d results", len(res.GetResults()))
	}
	if err := message.OpenRefusal(res.GetResults()[0].GetRefusal()); err != nil {
		return err
	}
	r, err := message.OpenReceipt(s.town.Verifier, s.ann.Host.Chain, res.GetResults()[0].GetReceipt())
	if err != nil {
		return err
	}
	if r.ID != v.Head.ID {
		return errors.New("the receipt is for something else")
	}
	s.owed[v.Head.ID] = true
	return nil
}

// look reads all that ann has sent, and counts what is owed and not there;
// reads bob's inbox, and fetches a letter that bob has fetched before.
func (s *site) look(ctx context.Context) error {
	shown := map[message.ID]bool{}
	q := &wirev1.SentRequest{Limit: 1000}
	for {
		res, err := s.ann.Peer.Mailbox().Sent(ctx, q)
		if err != nil {
			return fmt.Errorf("sent: %w", err)
		}
		for _, item := range res.GetItems() {
			for _, h := range item.GetHeads() {
				c, err := message.ParseHead(h)
				if err != nil {
					return fmt.Errorf("sent: %w", err)
				}
				shown[c.ID()] = true
			}
		}
		if q.After = res.GetNext(); !res.GetMore() {
			break
		}
	}
	lost := 0
	for id := range s.owed {
		if !shown[id] {
			lost++
		}
	}
	if lost > 0 {
		s.violated("lost: %d letters that there are receipts for", lost)
	}
	return s.fetch(ctx)
}

// fetch reads bob's inbox and fetches one letter again.
func (s *site) fetch(ctx context.Context) error {
	for tries := 0; ; tries++ {
		res, err := s.bob.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{Limit: 10})
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		if len(res.GetEntries()) > 0 && s.read == (message.Ref{}) {
			c, err := message.ParseHead(res.GetEntries()[0].GetHead())
			if err != nil {
				return fmt.Errorf("inbox: %w", err)
			}
			s.read = message.Ref{From: c.From(), MID: c.MID()}
		}
		if s.read != (message.Ref{}) {
			break
		}
		// The first letter is on its way.
		if err := pause(ctx, 100*time.Millisecond); err != nil || tries == 100 {
			return fmt.Errorf("no letter comes: %w", err)
		}
	}
	res, err := s.bob.Peer.Mailbox().Fetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{{From: s.read.From.Bytes(), Mid: s.read.MID.Bytes()}}})
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if len(res.GetResults()) != 1 {
		return fmt.Errorf("fetch: %d results", len(res.GetResults()))
	}
	if err := message.OpenRefusal(res.GetResults()[0].GetRefusal()); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
