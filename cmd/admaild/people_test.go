package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// people is where a script keeps who acts in it.
const people = "people"

// patience bounds what a script waits for.
const patience = 60 * time.Second

// person acts in a script, over the protocol itself.
type person struct {
	keyring *message.Keyring
	client  *rpc.Client
	peer    *rpc.Peer

	// mu guards promised: the heads that the server gave receipts for.
	mu       sync.Mutex
	promised map[message.MID]message.ID
}

// who finds a person.
func who(ts *testscript.TestScript, name string) *person {
	all, ok := ts.Value(people).(map[string]*person)
	if !ok || all[name] == nil {
		ts.Fatalf("nobody is called %s", name)
	}
	return all[name]
}

// reference reads a reference from a file.
func reference(ts *testscript.TestScript, file string) message.Reference {
	ref, err := message.ParseReference(strings.TrimSpace(ts.ReadFile(file)))
	ts.Check(err)
	return ref
}

// newPerson makes somebody who joins a server and publishes the route:
// person NAME SERVER-FILE TRACKER-FILE [TOKEN]. With ! the server must refuse.
func newPerson(ts *testscript.TestScript, neg bool, args []string) {
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	ts.Check(err)
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	ts.Check(err)
	p := &person{keyring: k, promised: make(map[message.MID]message.ID)}
	p.client = rpc.NewClient(rpc.Config{
		Dial: rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Dial, Verifier: crypto.NewVerifier(), Keyring: k,
	})
	ts.Defer(p.client.Close)
	token := ""
	if len(args) > 3 {
		token = args[3]
	}
	err = p.settle(reference(ts, args[1]), reference(ts, args[2]), token)
	if neg {
		if !errors.Is(err, message.Denied) {
			ts.Fatalf("%s may join: %v", args[0], err)
		}
		return
	}
	ts.Check(err)
	all, ok := ts.Value(people).(map[string]*person)
	if !ok {
		ts.Fatalf("no place for people")
	}
	all[args[0]] = p
	ts.Setenv(strings.ToUpper(args[0]), k.Address().String())
}

// settle joins and publishes.
func (p *person) settle(server, tracker message.Reference, token string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	peer, _, err := p.client.Open(ctx, server)
	if err != nil {
		return err
	}
	p.peer = peer
	joined, err := peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: p.keyring.Chain.Signed(0)}, Invite: token})
	if err != nil {
		return err
	}
	ticket, err := message.ParseTicket(joined.GetTicket())
	if err != nil {
		return err
	}
	now := time.Now()
	route, err := message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(300 * 24 * time.Hour),
		Services: []message.Service{{Purpose: message.PurposeAny, Server: peer.Address(), Ticket: ticket}},
	}, p.keyring.Chain, p.keyring.Signer)
	if err != nil {
		return err
	}
	own := &wirev1.Identity{Cards: p.keyring.Chain.Signed(0), Route: route.Signed}
	at, _, err := p.client.Open(ctx, tracker)
	if err != nil {
		return err
	}
	published, err := at.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{{Subject: own, Servers: []*wirev1.Identity{joined.GetServer()}}}})
	if err != nil {
		return err
	}
	if err := message.OpenRefusal(published.GetResults()[0].GetRefusal()); err != nil {
		return err
	}
	_, err = peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: own, Trackers: []string{tracker.String()}})
	return err
}

// submit sends one letter and notes the receipt.
func (p *person) submit(ctx context.Context, text string, to *person) error {
	mid, err := message.NewMID(time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	content := &message.Content{}
	content.Set(message.TypeText, []byte(text))
	s, err := message.Seal(message.Draft{
		Author: p.keyring.Chain, Readers: []*message.Chain{to.keyring.Chain}, MID: mid, Time: time.Now(),
		Audience: message.Private, Terms: message.Revisable, Content: content,
	}, p.keyring.Signer, rand.Reader)
	if err != nil {
		return err
	}
	resp, err := p.peer.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload}}})
	if err != nil {
		return err
	}
	r := resp.GetResults()[0]
	if err := message.OpenRefusal(r.GetRefusal()); err != nil {
		return err
	}
	receipt, err := message.OpenReceipt(crypto.Single{}, p.peer.Identity().Chain, r.GetReceipt())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promised[mid] = receipt.ID
	return nil
}

// send sends a letter: send FROM TO TEXT. With ! the server must refuse.
func send(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := who(ts, args[0]).submit(ctx, args[2], who(ts, args[1]))
	if neg && err == nil {
		ts.Fatalf("the server took it")
	}
	if !neg {
		ts.Check(err)
	}
}

// heads are the messages in somebody's inbox, each with how often it is there.
func (p *person) heads(ctx context.Context) (map[message.ID]int, error) {
	out := make(map[message.ID]int)
	var after *wirev1.Cursor
	for {
		resp, err := p.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{After: after, Limit: 1000})
		if err != nil {
			return nil, err
		}
		for _, e := range resp.GetEntries() {
			if c, err := message.ParseHead(e.GetHead()); err == nil {
				out[c.ID()]++
			}
		}
		after = resp.GetNext()
		if !resp.GetMore() {
			return out, nil
		}
	}
}

// sees waits until somebody's inbox holds so many messages: sees NAME N.
func sees(ts *testscript.TestScript, _ bool, args []string) {
	p := who(ts, args[0])
	var got map[message.ID]int
	if !until(func(ctx context.Context) bool {
		var err error
		got, err = p.heads(ctx)
		return err == nil && fmt.Sprint(len(got)) == args[1]
	}) {
		ts.Fatalf("%s sees %d messages, not %s", args[0], len(got), args[1])
	}
}

// until looks again and again.
func until(there func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !there(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// submitUntilKilled submits from many sides and kills the programs whose
// arguments hold a word, as a loss of power would, while that goes on:
// submit-until-killed FROM TO WORD.
func submitUntilKilled(ts *testscript.TestScript, _ bool, args []string) {
	from, to := who(ts, args[0]), who(ts, args[1])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	enough := make(chan struct{}, 1000)
	var sending sync.WaitGroup
	for n := range 8 {
		sending.Go(func() {
			for from.submit(ctx, fmt.Sprint("letter of sender ", n), to) == nil {
				select {
				case enough <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 40 {
		<-enough
	}
	for _, c := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(c.Args, " "), args[2]) {
			ts.Check(c.Process.Kill())
		}
	}
	sending.Wait()
}

// honoured looks every promise up: the sender's server has each message, and
// the recipient sees each once: honoured FROM TO.
func honoured(ts *testscript.TestScript, _ bool, args []string) {
	from, to := who(ts, args[0]), who(ts, args[1])
	if len(from.promised) < 40 {
		ts.Fatalf("no promises were made")
	}
	for mid, id := range from.promised {
		if !until(func(ctx context.Context) bool {
			resp, err := from.peer.Mailbox().Status(ctx, &wirev1.StatusRequest{Mid: mid.Bytes()})
			if errors.Is(err, message.Unavailable) {
				return false
			}
			ts.Check(err)
			claim, err := message.ParseHead(resp.GetHeads()[0])
			return err == nil && claim.ID() == id
		}) {
			ts.Fatalf("%s has a receipt and is lost", mid)
		}
	}
	missing := 0
	if !until(func(ctx context.Context) bool {
		got, err := to.heads(ctx)
		if err != nil {
			return false
		}
		missing = 0
		for _, id := range from.promised {
			if got[id] > 1 {
				ts.Fatalf("a message is there twice")
			}
			if got[id] == 0 {
				missing++
			}
		}
		return missing == 0
	}) {
		ts.Fatalf("%d of %d promised messages never came", missing, len(from.promised))
	}
}
