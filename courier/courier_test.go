package courier_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/memory"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKeyring(t testing.TB, role message.Role) *message.Keyring {
	t.Helper()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	must(t, err)
	k, err := message.NewKeyring(role, paper, time.Now(), rand.Reader)
	must(t, err)
	return k
}

// taker is a recipient's server that answers as a test says.
type taker struct {
	wirev1connect.UnimplementedExchangeHandler
	keyring  *message.Keyring
	identity *message.Identity
	calls    atomic.Int64

	// mu guards the answers, and what a test's answers note down.
	mu       sync.Mutex
	alert    func(*wirev1.AlertRequest) (*wirev1.AlertResponse, error)
	receipts func(*wirev1.ReceiptsRequest) (*wirev1.ReceiptsResponse, error)
}

// alerts makes k answer alerts so from now on.
func (k *taker) alerts(f func(*wirev1.AlertRequest) (*wirev1.AlertResponse, error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.alert = f
}

// noting does something that answers do too.
func (k *taker) noting(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// Alert answers.
func (k *taker) Alert(_ context.Context, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	k.calls.Add(1)
	k.mu.Lock()
	answer := k.alert
	k.mu.Unlock()
	return answer(req)
}

// Receipts answers.
func (k *taker) Receipts(_ context.Context, req *wirev1.ReceiptsRequest) (*wirev1.ReceiptsResponse, error) {
	k.calls.Add(1)
	k.mu.Lock()
	answer := k.receipts
	k.mu.Unlock()
	return answer(req)
}

// takes signs an honest receipt for every item.
func (k *taker) takes(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
	resp := &wirev1.AlertResponse{}
	for _, item := range req.GetItems() {
		resp.Results = append(resp.Results, k.receipt(item, k.keyring.Signer))
	}
	return resp, nil
}

// receipt is one honest result, but for the key.
func (k *taker) receipt(item *wirev1.AlertItem, key crypto.SigningKey) *wirev1.AlertResult {
	claim, err := message.ParseHead(item.GetHead())
	if err != nil {
		return &wirev1.AlertResult{Refusal: message.Refusal(err, time.Now())}
	}
	to, err := message.AddressFromBytes(item.GetTo())
	if err != nil {
		return &wirev1.AlertResult{Refusal: message.Refusal(err, time.Now())}
	}
	r, err := message.SignReceipt(message.Receipt{Issuer: k.keyring.Address(), Kind: message.ReceiptAlerted, ID: claim.ID(), AcceptedAt: time.Now(), For: to}, key)
	if err != nil {
		return &wirev1.AlertResult{Refusal: message.Refusal(err, time.Now())}
	}
	return &wirev1.AlertResult{Receipt: r.Signed}
}

// office is a courier with everything around it: a store with one account, a
// recipient, and a directory that a test can change.
type office struct {
	t       *testing.T
	network *town.Network
	ctx     context.Context
	stop    func()
	mail    *store.Mail
	known   *store.Known
	courier *courier.Courier
	author  *message.Keyring
	reader  *message.Keyring

	// mu guards the directory.
	mu      sync.Mutex
	found   map[message.Address]*message.Identity
	servers map[message.Address]*message.Identity
	lookups int
	failing error
}

// Find is the directory.
func (o *office) Find(_ context.Context, a message.Address, _ bool) (*message.Identity, map[message.Address]*message.Identity, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lookups++
	if o.failing != nil {
		return nil, nil, o.failing
	}
	if i, ok := o.found[a]; ok {
		return i, o.servers, nil
	}
	return nil, nil, message.NotFound
}

// fail has the directory say nothing but this; nil ends it.
func (o *office) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failing = err
}

// put enters an identity into the directory.
func (o *office) put(i *message.Identity) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found[i.Address()] = i
	o.servers[i.Address()] = i
}

// newOffice opens an office whose own server is somewhere else.
func newOffice(t *testing.T, change ...func(*courier.Config)) *office {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o := &office{
		t: t, network: town.NewNetwork(), ctx: ctx, mail: memory.NewMail(memory.NewBlobs()),
		author: newKeyring(t, message.RoleUser), reader: newKeyring(t, message.RoleUser),
		found: map[message.Address]*message.Identity{}, servers: map[message.Address]*message.Identity{},
	}
	o.known = store.NewKnown(o.mail.Identities, crypto.Single{})
	own := newKeyring(t, message.RoleServer)
	identity, _ := certify(t, own, "own.test")
	client := rpc.NewClient(rpc.Config{Dial: o.network.Dialer("own.test"), Verifier: crypto.Single{}, Keyring: own})
	must(t, o.mail.Accounts.Join(ctx, store.Account{Address: o.author.Address(), Joined: time.Now()}, nil))
	_, err := o.known.Learn(ctx, (&message.Identity{Chain: o.author.Chain}).Wire(), time.Now())
	must(t, err)
	c := courier.Config{
		Identity: func() *message.Identity { return identity }, Client: client, Resolver: o, Known: o.known, Tasks: o.mail.Tasks,
		Outgoing: o.mail.Outgoing, Deliveries: o.mail.Deliveries, Incoming: o.mail.Incoming, Verifier: crypto.Single{}, Rand: rand.Reader,
	}
	for _, f := range change {
		f(&c)
	}
	o.courier = courier.New(c)
	var running sync.WaitGroup
	running.Go(func() {
		if err := o.courier.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	o.stop = func() {
		cancel()
		running.Wait()
		client.Close()
	}
	return o
}

// certify makes a host's certificate and its identity.
func certify(t *testing.T, k *message.Keyring, place string) (*message.Identity, tls.Certificate) {
	t.Helper()
	now := time.Now()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{place}, now.Add(-time.Hour), now.Add(3650*24*time.Hour))
	must(t, err)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	must(t, err)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	must(t, err)
	return identityOf(t, k, message.Route{Hosts: []message.Host{{URL: "https://" + place, Pin: crypto.Pin(leaf)}}}), cert
}

// identityOf signs a route.
func identityOf(t *testing.T, k *message.Keyring, r message.Route) *message.Identity {
	t.Helper()
	r.Pair.Route, r.Time, r.Expires = 1, time.Now(), time.Now().Add(300*24*time.Hour)
	route, err := message.SignRoute(r, k.Chain, k.Signer)
	must(t, err)
	return &message.Identity{Chain: k.Chain, Route: route}
}

// taker opens a server that answers as told, and lets the reader live there.
func (o *office) taker(place string) *taker {
	o.t.Helper()
	k := &taker{keyring: newKeyring(o.t, message.RoleServer)}
	k.alerts(k.takes)
	identity, cert := certify(o.t, k.keyring, place)
	k.identity = identity
	l, err := o.network.Listen(place)
	must(o.t, err)
	s := rpc.NewServer(rpc.ServerConfig{Listener: l, TLS: rpc.ServerTLS(cert)})
	s.Mount(wirev1connect.NewExchangeHandler(k, rpc.Options(nil)...))
	serving, cancel := context.WithCancel(o.ctx)
	done := make(chan error, 1)
	go func() { done <- s.Serve(serving) }()
	stop := o.stop
	o.stop = func() {
		stop()
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("serve: %v", err)
		}
	}
	o.put(identity)
	o.lives(o.reader, k)
	return k
}

// lives publishes somebody's route to a server.
func (o *office) lives(who *message.Keyring, at *taker) {
	o.t.Helper()
	now := time.Now()
	ticket, err := message.SignTicket(at.keyring.Address(), who.Address(), now, now.Add(300*24*time.Hour), at.keyring.Signer)
	must(o.t, err)
	o.put(identityOf(o.t, who, message.Route{Services: []message.Service{{Purpose: message.PurposeAny, Server: at.keyring.Address(), Ticket: ticket}}}))
}

// send submits a message to the reader.
func (o *office) send(d message.Draft) *message.Head {
	o.t.Helper()
	d.Author, d.Readers, d.Time, d.Audience = o.author.Chain, []*message.Chain{o.reader.Chain}, time.Now(), message.Private
	if d.Terms == 0 {
		d.Terms = message.Revisable
	}
	if d.Prev == nil {
		mid, err := message.NewMID(d.Time, rand.Reader)
		must(o.t, err)
		d.MID = mid
	}
	d.Content = &message.Content{}
	d.Content.Set(message.TypeText, []byte("hello"))
	s, err := message.Seal(d, o.author.Signer, rand.Reader)
	must(o.t, err)
	r := o.mail.Outgoing.Submit(o.ctx, []store.Submission{{Head: s.Head, Slots: s.Slots, Payload: s.Payload, Now: time.Now()}})
	must(o.t, r[0].Err)
	o.courier.Wake()
	return s.Head
}

// delivery is how far a message has come.
func (o *office) delivery(h *message.Head) store.Delivery {
	o.t.Helper()
	all, err := o.mail.Deliveries.Deliveries(o.ctx, h.Ref())
	must(o.t, err)
	return all[0]
}

// TestAnswers: what a server answers decides whether an alert was brought, is
// tried again, or never will be.
func TestAnswers(t *testing.T) {
	refusal := func(code message.Code) func(*taker, *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
		return func(_ *taker, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			return &wirev1.AlertResponse{Results: []*wirev1.AlertResult{{Refusal: message.Refusal(code, time.Now())}}}, nil
		}
	}
	other := newKeyring(t, message.RoleServer)
	cases := []struct {
		name   string
		answer func(*taker, *wirev1.AlertRequest) (*wirev1.AlertResponse, error)
		want   store.DeliveryState
		reason message.Code
	}{
		{"an honest receipt", (*taker).takes, store.Alerted, 0},
		{"not accepted", refusal(message.NotAccepted), store.NotTaken, message.NotAccepted},
		{"denied", refusal(message.Denied), store.NotTaken, message.Denied},
		{"a full disk", refusal(message.StorageFull), store.Queued, 0},
		{"too many", refusal(message.RateLimited), store.Queued, 0},
		{"a fault", refusal(message.Internal), store.Queued, 0},
		{"a clock", refusal(message.Clock), store.Queued, 0},
		{"a bundle, for ever", refusal(message.NeedBundle), store.Queued, 0},
		{"a bundle, for ever, of the caller", func(*taker, *wirev1.AlertRequest) (*wirev1.AlertResponse, error) { return nil, message.NeedBundle }, store.Queued, 0},
		{"nothing", func(*taker, *wirev1.AlertRequest) (*wirev1.AlertResponse, error) { return &wirev1.AlertResponse{}, nil }, store.Queued, 0},
		{"neither receipt nor refusal", func(*taker, *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			return &wirev1.AlertResponse{Results: []*wirev1.AlertResult{{}}}, nil
		}, store.Queued, 0},
		{"another's receipt", func(k *taker, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			return &wirev1.AlertResponse{Results: []*wirev1.AlertResult{k.receipt(req.GetItems()[0], other.Signer)}}, nil
		}, store.Queued, 0},
		{"a receipt for another recipient", func(k *taker, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			item := &wirev1.AlertItem{To: other.Address().Bytes(), Head: req.GetItems()[0].GetHead()}
			return &wirev1.AlertResponse{Results: []*wirev1.AlertResult{k.receipt(item, k.keyring.Signer)}}, nil
		}, store.Queued, 0},
		{"a receipt for another message", func(k *taker, req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			to, err := message.AddressFromBytes(req.GetItems()[0].GetTo())
			if err != nil {
				return nil, err
			}
			r, err := message.SignReceipt(message.Receipt{Issuer: k.keyring.Address(), Kind: message.ReceiptAlerted, ID: message.ID{1}, AcceptedAt: time.Now(), For: to}, k.keyring.Signer)
			if err != nil {
				return nil, err
			}
			return &wirev1.AlertResponse{Results: []*wirev1.AlertResult{{Receipt: r.Signed}}}, nil
		}, store.Queued, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				k := o.taker("two.test")
				k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) { return c.answer(k, req) })
				defer func() { o.stop() }()
				h := o.send(message.Draft{})
				time.Sleep(time.Minute)
				d := o.delivery(h)
				if d.State != c.want || d.Reason != c.reason {
					t.Fatalf("state %v, reason %v", d.State, d.Reason)
				}
				if c.want == store.Queued {
					if d.Attempts < 2 || d.Attempts > 6 {
						t.Fatalf("%d attempts in a minute", d.Attempts)
					}
					// What was only a fault is over at the next attempt.
					k.alerts(k.takes)
					time.Sleep(5 * time.Minute)
					if d := o.delivery(h); d.State != store.Alerted || len(d.Receipts) != 1 {
						t.Fatalf("after the fault: %v", d)
					}
				}
			})
		})
	}
}

// TestBundles: the first batch brings the author's bundle and the server's own,
// later ones nothing, and again when asked.
func TestBundles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		var brought []int
		var asks atomic.Bool
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			k.noting(func() { brought = append(brought, len(req.GetIdentities())) })
			if asks.Load() && len(req.GetIdentities()) == 0 {
				return nil, message.NeedBundle
			}
			return k.takes(req)
		})
		defer func() { o.stop() }()
		for range 2 {
			o.send(message.Draft{})
			time.Sleep(time.Minute)
		}
		asks.Store(true)
		o.send(message.Draft{})
		time.Sleep(time.Minute)
		var got string
		k.noting(func() { got = fmt.Sprint(brought) })
		if got != "[2 0 0 2]" {
			t.Fatalf("bundles brought: %s", got)
		}
	})
}

// TestBatches: many alerts for one server go in few calls.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		defer func() { o.stop() }()
		var heads []*message.Head
		// A first failure makes all of them wait for the same retry.
		k.alerts(func(*wirev1.AlertRequest) (*wirev1.AlertResponse, error) { return nil, message.Unavailable })
		for range 600 {
			heads = append(heads, o.send(message.Draft{}))
		}
		time.Sleep(time.Second)
		k.calls.Store(0)
		k.alerts(k.takes)
		time.Sleep(time.Hour)
		for _, h := range heads {
			if d := o.delivery(h); d.State != store.Alerted {
				t.Fatalf("state %v", d.State)
			}
		}
		if n := k.calls.Load(); n > 30 {
			t.Fatalf("%d calls for 600 alerts", n)
		}
	})
}

// TestNewest: of several versions that wait, the newest is brought.
func TestNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		defer func() { o.stop() }()
		var seen []uint64
		var down atomic.Bool
		down.Store(true)
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			if down.Load() {
				return nil, message.Unavailable
			}
			for _, item := range req.GetItems() {
				c, err := message.ParseHead(item.GetHead())
				if err != nil {
					return nil, err
				}
				k.noting(func() { seen = append(seen, c.Version()) })
			}
			return k.takes(req)
		})
		h := o.send(message.Draft{})
		time.Sleep(time.Minute)
		h = o.send(message.Draft{Prev: h})
		h = o.send(message.Draft{Prev: h})
		time.Sleep(time.Minute)
		down.Store(false)
		time.Sleep(time.Hour)
		var got string
		k.noting(func() { got = fmt.Sprint(seen) })
		if got != "[3]" {
			t.Fatalf("brought: %s", got)
		}
		if d := o.delivery(h); d.State != store.Alerted || d.Version != 3 {
			t.Fatalf("%+v", d)
		}
	})
}

// TestNobody: what an owner has signed, that no server takes mail or that the address
// is closed, ends the delivery; what a directory says, or fails to, does not.
func TestNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer func() { o.stop() }()
		// One after another, each wrong in another way, and all for nothing.
		lies := o.send(message.Draft{})
		for _, said := range []error{message.NotFound, message.Invalid, message.Expired, message.Denied, errors.New("no code at all")} {
			o.fail(said)
			time.Sleep(7 * time.Hour)
			if d := o.delivery(lies); d.State != store.Queued || d.Attempts == 0 {
				t.Fatalf("the directory says %v: %+v", said, d)
			}
		}
		o.fail(nil)
		bare := &message.Identity{Chain: o.reader.Chain}
		o.put(bare)
		time.Sleep(7 * time.Hour)
		if d := o.delivery(lies); d.State != store.Queued {
			t.Fatalf("no route yet: %+v", d)
		}
		o.put(identityOf(t, o.reader, message.Route{}))
		h := o.send(message.Draft{})
		time.Sleep(time.Second)
		if d := o.delivery(h); d.State != store.NotTaken || d.Reason != message.NotFound {
			t.Fatalf("no server: %+v", d)
		}
		k := o.taker("two.test")
		o.mu.Lock()
		delete(o.servers, k.identity.Address())
		o.mu.Unlock()
		h = o.send(message.Draft{})
		time.Sleep(time.Minute)
		if d := o.delivery(h); d.State != store.Queued || d.Attempts == 0 {
			t.Fatalf("a server that is not known: %+v", d)
		}
		o.put(k.identity)
		time.Sleep(time.Hour)
		if d := o.delivery(h); d.State != store.Alerted {
			t.Fatalf("once it is known: %+v", d)
		}
	})
}

// TestStop: what had begun is settled, what had not is due again at once.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		begun, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			once.Do(func() { close(begun) })
			<-release
			return k.takes(req)
		})
		h := o.send(message.Draft{})
		<-begun
		go func() {
			time.Sleep(2 * time.Second)
			close(release)
		}()
		o.stop()
		if d := (&office{t: t, mail: o.mail, ctx: context.Background()}).delivery(h); d.State != store.Alerted {
			t.Fatalf("the call under way was not settled: %+v", d)
		}
		due, err := o.mail.Tasks.NextDue(context.Background(), store.TaskAlert)
		if !errors.Is(err, message.NotFound) {
			t.Fatalf("a task is left, due %v, %v", due, err)
		}
	})
}

// TestStopBusy: what waited in a queue when the courier stopped is due at once
// for the next one.
func TestStopBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		var taken atomic.Int64
		var down atomic.Bool
		down.Store(true)
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			if down.Load() {
				return nil, message.Unavailable
			}
			taken.Add(int64(len(req.GetItems())))
			time.Sleep(3 * time.Second)
			return k.takes(req)
		})
		const n = 1000
		for range n {
			o.send(message.Draft{})
		}
		time.Sleep(time.Second)
		down.Store(false)
		for taken.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		o.stop()
		if due, err := o.mail.Tasks.NextDue(context.Background(), store.TaskAlert); err != nil || due.After(time.Now()) {
			t.Fatalf("next due %v, %v", due, err)
		}
		tasks, err := o.mail.Tasks.Claim(context.Background(), store.TaskAlert, time.Now().Add(time.Minute), time.Minute, 2*n)
		must(t, err)
		if got := int(taken.Load()); len(tasks) != n-got || got == n {
			t.Fatalf("%d were taken, %d are due, of %d", got, len(tasks), n)
		}
	})
}

// TestReceiptTasks: receipts go back to the author's server, with the reader's
// bundle, and are given up quietly.
func TestReceiptTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		defer func() { o.stop() }()
		reader, writer := o.author, o.reader // the other way round: the author here has read
		ref := message.Ref{From: writer.Address(), MID: message.MID{1}}
		receipt, err := message.SignReceipt(message.Receipt{Issuer: reader.Address(), Kind: message.ReceiptOpened, ID: message.ID{2}, AcceptedAt: time.Now(), For: reader.Address()}, reader.Signer)
		must(t, err)
		var brought []int
		var answer atomic.Int32
		answer.Store(int32(message.NeedBundle))
		k.noting(func() {
			k.receipts = func(req *wirev1.ReceiptsRequest) (*wirev1.ReceiptsResponse, error) {
				k.noting(func() { brought = append(brought, len(req.GetIdentities())) })
				resp := &wirev1.ReceiptsResponse{}
				for range req.GetItems() {
					resp.Results = append(resp.Results, &wirev1.Refusal{Reason: wirev1.Reason(answer.Load())})
				}
				return resp, nil
			}
		})
		add := func(version uint64) {
			must(t, o.mail.Tasks.AddTasks(o.ctx, []store.Task{{
				Kind: store.TaskReceipt, Ref: ref, Version: version, Peer: writer.Address(), Receipt: receipt.Signed, Queued: time.Now(), Due: time.Now(),
			}}))
			o.courier.Wake()
		}
		add(1)
		time.Sleep(time.Second)
		var got string
		k.noting(func() { got = fmt.Sprint(brought) })
		if got != "[2 2]" {
			t.Fatalf("bundles brought: %s", got)
		}
		answer.Store(0)
		time.Sleep(time.Minute)
		if _, err := o.mail.Tasks.NextDue(o.ctx, store.TaskReceipt); !errors.Is(err, message.NotFound) {
			t.Fatalf("the receipt was taken and is still due: %v", err)
		}
		answer.Store(int32(message.Unavailable))
		add(2)
		time.Sleep(6 * 24 * time.Hour)
		if _, err := o.mail.Tasks.NextDue(o.ctx, store.TaskReceipt); !errors.Is(err, message.NotFound) {
			t.Fatalf("never given up: %v", err)
		}
	})
}

// TestEditUnderWay: a version that is submitted while the one before is being
// brought follows at once.
func TestEditUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		k := o.taker("two.test")
		defer func() { o.stop() }()
		k.alerts(func(req *wirev1.AlertRequest) (*wirev1.AlertResponse, error) {
			time.Sleep(time.Second)
			return k.takes(req)
		})
		h := o.send(message.Draft{})
		time.Sleep(time.Second / 2)
		h = o.send(message.Draft{Prev: h})
		time.Sleep(3 * time.Second)
		if d := o.delivery(h); d.State != store.Alerted || d.Version != 2 {
			t.Fatalf("%+v", d)
		}
	})
}
