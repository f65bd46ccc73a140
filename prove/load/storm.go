package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// What the storm is made of.
const (
	// accounts submit, each as fast as it is answered.
	accounts = 16
	// origins are strange mail servers, with senders each, who bring alerts to as
	// many victims.
	origins, senders = 4, 32
	// together is how many items one call has.
	together = 16
	// nice is the priority of the storm: its processor time stands for that of
	// other people's machines, and must not be taken from the server.
	nice = 10
)

// stormJob is what a storm is told when it begins.
type stormJob struct {
	Server, Tracker string
	// Millis is how long it rages, from when it is told to.
	Millis int
}

// stormSaid is what became of it.
type stormSaid struct {
	// Submits and Alerts say how often each outcome came: of a call that was
	// refused as a whole, and else of each of its items.
	Submits, Alerts map[string]int
	Calls           int
}

// storm is the process of one.
type storm struct {
	job     stormJob
	town    *proof.Town
	host    *message.Identity
	people  []*proof.Person
	victims []*proof.Person
	offices []*office

	mu   sync.Mutex
	said stormSaid
}

// office is a strange mail server. Of that only its keys and route are needed.
type office struct {
	client  *rpc.Client
	peer    *rpc.Peer
	bundle  *wirev1.Identity
	senders []*stranger
}

// stranger lives at an office.
type stranger struct {
	*press
	bundle *wirev1.Identity
	victim message.Address
}

// stormMain is the process of a storm: it prepares, says so, waits to be told to
// begin, and says what became of it.
func stormMain(in io.Reader, out io.Writer) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice); err != nil {
		return err
	}
	ctx := context.Background()
	s := &storm{said: stormSaid{Submits: map[string]int{}, Alerts: map[string]int{}}}
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	if err := from.Decode(&s.job); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	var begin bool
	if err := errors.Join(to.Encode(true), from.Decode(&begin)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(s.job.Millis)*time.Millisecond)
	defer cancel()
	var raging sync.WaitGroup
	for n, p := range s.people {
		raging.Go(func() { s.submit(limited, p, n%2 == 0) })
	}
	for _, o := range s.offices {
		raging.Go(func() { s.alert(limited, o) })
	}
	raging.Wait()
	return to.Encode(s.said)
}

// prepare lets people join and makes strangers.
func (s *storm) prepare(ctx context.Context) error {
	s.town = &proof.Town{Tracker: &proof.Server{Reference: s.job.Tracker}, Verifier: crypto.Single{}}
	for n := range accounts + senders {
		p, err := s.town.Join(ctx, s.job.Server)
		if err != nil {
			return err
		}
		p.Client.Close()
		s.host = p.Host
		p.Client = rpc.NewClient(rpc.Config{Dial: place(stormPlace + n).dial, Verifier: s.town.Verifier, Keyring: p.Keys})
		if p.Peer, err = p.Client.Peer(p.Host); err != nil {
			return err
		}
		if n < accounts {
			s.people = append(s.people, p)
		} else {
			s.victims = append(s.victims, p)
		}
	}
	for n := range origins {
		o, err := s.office(n)
		if err != nil {
			return err
		}
		s.offices = append(s.offices, o)
	}
	return nil
}

// stormPlace is the first of the places that a storm comes from.
const stormPlace = 100_000

// office makes a strange server and its senders.
func (s *storm) office(n int) (*office, error) {
	k, err := proof.Keyring(message.RoleServer)
	if err != nil {
		return nil, err
	}
	route := message.Route{Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(time.Hour), Hosts: []message.Host{{URL: "https://127.0.0.1:1"}}}
	own := &message.Identity{Chain: k.Chain}
	if own.Route, err = message.SignRoute(route, k.Chain, k.Signer); err != nil {
		return nil, err
	}
	o := &office{client: rpc.NewClient(rpc.Config{Dial: place(stormPlace + accounts + senders + n).dial, Verifier: s.town.Verifier, Keyring: k}), bundle: own.Wire()}
	if o.peer, err = o.client.Peer(s.host); err != nil {
		return nil, err
	}
	for _, v := range s.victims {
		keys, err := proof.Keyring(message.RoleUser)
		if err != nil {
			return nil, err
		}
		ticket, err := message.SignTicket(k.Address(), keys.Address(), time.Now(), time.Now().Add(time.Hour), k.Signer)
		if err != nil {
			return nil, err
		}
		route.Hosts, route.Services = nil, []message.Service{{Purpose: message.PurposeAny, Server: k.Address(), Ticket: ticket}}
		i := &message.Identity{Chain: keys.Chain}
		if i.Route, err = message.SignRoute(route, keys.Chain, keys.Signer); err != nil {
			return nil, err
		}
		p, err := newPress(keys, v.Keys.Chain)
		if err != nil {
			return nil, err
		}
		o.senders = append(o.senders, &stranger{press: p, bundle: i.Wire(), victim: v.Address()})
	}
	return o, nil
}

// submit is one account at full speed, with private messages or public ones.
func (s *storm) submit(ctx context.Context, p *proof.Person, public bool) {
	defer p.Client.Close()
	reader := s.victims[0].Keys.Chain
	if public {
		reader = nil
	}
	letters, err := newPress(p.Keys, reader)
	for err == nil && ctx.Err() == nil {
		req := &wirev1.SubmitRequest{}
		for range together {
			var sub *wirev1.Submission
			if sub, err = letters.print(); err != nil {
				break
			}
			req.Submissions = append(req.Submissions, sub)
		}
		if err == nil {
			res, failed := p.Peer.Mailbox().Submit(ctx, req)
			if ctx.Err() != nil {
				return
			}
			outcomes := []error{failed}
			if failed == nil {
				outcomes = nil
				for _, r := range res.GetResults() {
					outcomes = append(outcomes, message.OpenRefusal(r.GetRefusal()))
				}
			}
			s.count(s.said.Submits, outcomes)
		}
	}
	if err != nil {
		s.count(s.said.Submits, []error{err})
	}
}

// alert is one strange server at full speed. It says with each call who the
// senders are, as whoever does not know whether that was kept.
func (s *storm) alert(ctx context.Context, o *office) {
	defer o.client.Close()
	var err error
	for n := 0; err == nil && ctx.Err() == nil; n += together {
		req := &wirev1.AlertRequest{Identities: []*wirev1.Identity{o.bundle}}
		for i := range together {
			from := o.senders[(n+i)%len(o.senders)]
			var sub *wirev1.Submission
			if sub, err = from.print(); err != nil {
				break
			}
			req.Identities = append(req.Identities, from.bundle)
			req.Items = append(req.Items, &wirev1.AlertItem{To: from.victim.Bytes(), Head: sub.GetHead(), Slot: sub.GetSlots()[0]})
		}
		if err == nil {
			res, failed := o.peer.Exchange().Alert(ctx, req)
			if ctx.Err() != nil {
				return
			}
			outcomes := []error{failed}
			if failed == nil {
				outcomes = nil
				for _, r := range res.GetResults() {
					outcomes = append(outcomes, message.OpenRefusal(r.GetRefusal()))
				}
			}
			s.count(s.said.Alerts, outcomes)
		}
	}
	if err != nil {
		s.count(s.said.Alerts, []error{err})
	}
}

// taken is the outcome of what was not refused.
const taken = "taken"

// count notes outcomes of one call.
func (s *storm) count(into map[string]int, outcomes []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Calls++
	for _, err := range outcomes {
		name := taken
		if err != nil {
			name = fmt.Sprint(message.CodeOf(err))
		}
		into[name]++
	}
}

// press makes many messages of one author quickly: the first is sealed as every
// message is, the others have its payload and slots and a head of their own.
type press struct {
	keys    *message.Keyring
	sealed  *message.Sealed
	head    *wirev1.Head
	binding *wirev1.Binding
}

// newPress makes a press for messages to a reader, or for public ones.
func newPress(keys *message.Keyring, reader *message.Chain) (*press, error) {
	d := message.Draft{Author: keys.Chain, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Content: &message.Content{}}
	if reader != nil {
		d.Audience, d.Readers = message.Private, []*message.Chain{reader}
	}
	d.Content.Set(message.TypeMarkdown, []byte("one of very many"))
	var err error
	if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
		return nil, err
	}
	p := &press{keys: keys, head: &wirev1.Head{}, binding: &wirev1.Binding{}}
	if p.sealed, err = message.Seal(d, keys.Signer, crand.Reader); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(p.sealed.Head.Signed.GetBody(), p.head); err != nil {
		return nil, err
	}
	return p, proto.Unmarshal(p.head.GetBinding(), p.binding)
}

// print makes one message.
func (p *press) print() (*wirev1.Submission, error) {
	mid, err := message.NewMID(time.Now(), crand.Reader)
	if err != nil {
		return nil, err
	}
	b := proto.CloneOf(p.binding)
	b.Mid = mid.Bytes()
	h := &wirev1.Head{PayloadHash: p.head.GetPayloadHash(), PayloadLen: p.head.GetPayloadLen(), Commit: p.head.GetCommit()}
	if h.Binding, err = proto.Marshal(b); err != nil {
		return nil, err
	}
	body, err := proto.Marshal(h)
	if err != nil {
		return nil, err
	}
	key := p.keys.Signer
	signed := &wirev1.Signed{Body: body, Key: key.Public().Bytes(), Signature: key.Sign("head", body)}
	return &wirev1.Submission{Head: signed, Slots: p.sealed.Slots, Payload: p.sealed.Payload}, nil
}
