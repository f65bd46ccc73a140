package main

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// outlaw is a mail server or tracker that was made by hand: it has good keys of
// its own and says whatever it is told to.
type outlaw struct {
	keys      *message.Keyring
	identity  *message.Identity
	reference string
	client    *rpc.Client
	t         *town

	wirev1connect.UnimplementedExchangeHandler
	wirev1connect.UnimplementedMailboxHandler

	mu sync.Mutex
	// answers says what it answers to a query; nil is the truth as the town's
	// tracker has it.
	answers func(ctx context.Context, q message.Query) *wirev1.Signed
	pulls   func(*wirev1.PullRequest) (*wirev1.PullResponse, error)
	alerts  func(*wirev1.AlertRequest) (*wirev1.AlertResponse, error)
	joins   func(header string) (*wirev1.JoinResponse, error)
	// callers are the headers that came with pulls and joins.
	callers []string
}

// outlaws starts one.
func (t *town) outlaw(role message.Role) (*outlaw, error) {
	k, err := proof.Keyring(role)
	if err != nil {
		return nil, err
	}
	certificate, key, err := crypto.NewCertificate(crand.Reader, []string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &outlaw{t: t, keys: k, client: rpc.NewClient(rpc.Config{Dial: proof.Loopback(), Verifier: t.verifier, Keyring: k})}
	url := "https://" + l.Addr().String()
	o.identity = &message.Identity{Chain: k.Chain}
	if o.identity.Route, err = hostRoute(k, url, sha256.Sum256(leaf.RawSubjectPublicKeyInfo)); err != nil {
		return nil, err
	}
	o.reference = url + "#" + k.Address().String()
	s := rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(pair)})
	for _, mount := range []func() (string, http.Handler){
		func() (string, http.Handler) { return wirev1connect.NewDirectoryHandler(o, rpc.Options(nil)...) },
		func() (string, http.Handler) { return wirev1connect.NewExchangeHandler(o, rpc.Options(nil)...) },
		func() (string, http.Handler) { return wirev1connect.NewMailboxHandler(o, rpc.Options(nil)...) },
	} {
		s.Mount(mount())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx)
	}()
	t.ends(func() { cancel(); o.client.Close(); <-done })
	return o, nil
}

// hostRoute is the route of a server.
func hostRoute(k *message.Keyring, url string, pin [32]byte) (*message.Route, error) {
	return message.SignRoute(message.Route{
		Pair: message.Pair{Route: 1}, Time: time.Now(), Expires: time.Now().Add(24 * time.Hour), Hosts: []message.Host{{URL: url, Pin: pin}},
	}, k.Chain, k.Signer)
}

// Lookup answers about itself truthfully, and about others as it is told to.
func (o *outlaw) Lookup(ctx context.Context, req *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	res := &wirev1.LookupResponse{}
	for _, w := range req.GetQueries() {
		q, err := message.OpenQuery(w)
		if err != nil {
			return nil, err
		}
		var s *wirev1.Signed
		switch {
		case q.Self():
			s = o.answer(message.Answer{Found: true, Subject: o.identity})
		case o.answers != nil:
			s = o.answers(ctx, q)
		}
		r := &wirev1.LookupResult{}
		if s == nil {
			r.Refusal = message.Refusal(message.NotFound, time.Now())
		} else {
			r.Answers = []*wirev1.Signed{s}
		}
		res.Results = append(res.Results, r)
	}
	return res, nil
}

// answer signs an answer of its own. A time that is not set is now.
func (o *outlaw) answer(a message.Answer) *wirev1.Signed {
	a.Tracker = o.keys.Address()
	if a.Time.IsZero() {
		a.Time = time.Now()
	}
	s, err := message.SignAnswer(a, o.keys.Signer)
	if err != nil {
		return nil
	}
	return s
}

// Pull answers as it is told to.
func (o *outlaw) Pull(ctx context.Context, req *wirev1.PullRequest) (*wirev1.PullResponse, error) {
	o.mu.Lock()
	o.callers = append(o.callers, rpc.Authorization(ctx))
	f := o.pulls
	o.mu.Unlock()
	if f == nil {
		return nil, message.NotFound
	}
	return f(req)
}

// Alert answers as it is told to.
func (o *outlaw) Alert(_ context.Context, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	o.mu.Lock()
	f := o.alerts
	o.mu.Unlock()
	if f == nil {
		return nil, message.Unavailable
	}
	return f(req)
}

// Join answers as it is told to.
func (o *outlaw) Join(ctx context.Context, _ *wirev1.JoinRequest) (*wirev1.JoinResponse, error) {
	header := rpc.Authorization(ctx)
	o.mu.Lock()
	o.callers = append(o.callers, header)
	f := o.joins
	o.mu.Unlock()
	if f == nil {
		return nil, message.Denied
	}
	return f(header)
}

// heard is who has called so far.
func (o *outlaw) heard() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.callers...)
}

// citizen is somebody who lives at an outlaw's.
func (o *outlaw) citizen(ctx context.Context) (*proof.Person, error) {
	k, err := proof.Keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	ticket, err := message.SignTicket(o.keys.Address(), k.Address(), time.Now(), time.Now().Add(24*time.Hour), o.keys.Signer)
	if err != nil {
		return nil, err
	}
	p := &proof.Person{Keys: k, Host: o.identity, Identity: &message.Identity{Chain: k.Chain}}
	if p.Identity.Route, err = route(k, 1, time.Now(), message.Service{Purpose: message.PurposeAny, Server: o.keys.Address(), Ticket: ticket}); err != nil {
		return nil, err
	}
	return p, o.t.publish(ctx, o.t.hill, p.Identity.Wire(), o.identity.Wire())
}

// shows publishes a first card, whatever is in it, of somebody who lives at the
// outlaw's.
func (o *outlaw) shows(ctx context.Context, card *wirev1.Signed, device crypto.SigningKey) error {
	id := message.ID(crypto.ID("card", card.GetBody()))
	address := message.AddressOf(id)
	ticket, err := message.SignTicket(o.keys.Address(), address, time.Now(), time.Now().Add(24*time.Hour), o.keys.Signer)
	if err != nil {
		return err
	}
	r := &wirev1.Route{Address: address.Bytes(), CardId: id[:], Seq: 1, Time: time.Now().UnixMilli(), Expires: time.Now().Add(24 * time.Hour).UnixMilli(),
		Services: []*wirev1.Service{{Purpose: wirev1.Purpose_PURPOSE_ANY, Server: o.keys.Address().Bytes(), Ticket: ticket.Signed}}}
	return o.t.publish(ctx, o.t.hill, &wirev1.Identity{Cards: []*wirev1.Signed{card}, Route: state("route", r, device)}, o.identity.Wire())
}

// alert brings heads to a server, with the outlaw's own word for who it is.
func (o *outlaw) alert(ctx context.Context, s *server, from *proof.Person, items ...*wirev1.AlertItem) ([]*wirev1.AlertResult, error) {
	p, _, err := peer(ctx, o.client, s.reference)
	if err != nil {
		return nil, err
	}
	res, err := p.Exchange().Alert(ctx, &wirev1.AlertRequest{Items: items, Identities: []*wirev1.Identity{from.Identity.Wire(), o.identity.Wire()}})
	return res.GetResults(), err
}

// tells brings one letter to one reader, and returns why it was not taken.
func (o *outlaw) tells(ctx context.Context, s *server, from *proof.Person, l *message.Sealed, to message.Address) error {
	results, err := o.alert(ctx, s, from, &wirev1.AlertItem{To: to.Bytes(), Head: l.Head.Signed, Slot: slotOf(l, to)})
	if err != nil {
		return err
	}
	return message.OpenRefusal(results[0].GetRefusal())
}

// serves lets it hand out versions of a message, as they are; the reader gets
// those after the one that it knows.
func (o *outlaw) serves(whole *wirev1.Pulled) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pulls = func(req *wirev1.PullRequest) (*wirev1.PullResponse, error) {
		res := &wirev1.PullResponse{}
		for _, item := range req.GetItems() {
			one := &wirev1.Pulled{}
			for _, s := range whole.GetHeads() {
				if claim, err := message.ParseHead(s); err != nil || claim.Version() > item.GetAfterVersion() {
					one.Heads = append(one.Heads, s)
				}
			}
			if len(one.GetHeads()) > 0 {
				one.Payload, one.Slot = whole.GetPayload(), whole.GetSlot()
			}
			res.Results = append(res.Results, one)
		}
		return res, nil
	}
}

// pulled is what an honest server answers to a reader.
func pulled(l *message.Sealed, to message.Address, before ...*message.Sealed) *wirev1.Pulled {
	p := &wirev1.Pulled{Slot: slotOf(l, to), Payload: l.Payload}
	for _, b := range before {
		p.Heads = append(p.Heads, b.Head.Signed)
	}
	p.Heads = append(p.Heads, l.Head.Signed)
	return p
}
