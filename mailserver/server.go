package mailserver

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"airdispatch/courier"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/tracker"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// Config is what a Server is made of.
type Config struct {
	// Keyring signs tickets, receipts and answers.
	Keyring *message.Keyring
	// Identity is the server's own, as it is published: its hosts above all.
	Identity func() *message.Identity
	Store    *store.Mail
	Known    *store.Known
	Resolver *tracker.Resolver
	// Client asks other servers, with the same Keyring.
	Client   *rpc.Client
	Courier  *courier.Courier
	Verifier crypto.Verifier
	Rand     io.Reader
	// Accounts says who may join.
	Accounts AccountsPolicy
	Limits   Limits
	// Live bounds live connections.
	Live relay.Limits
	// Proxied says that calls come through a proxy on this machine, which names
	// the asker's address in X-Forwarded-For.
	Proxied bool
	// Free tells how many bytes may still be written where blobs are kept; nil
	// where that cannot be told, and then uploads leave no reserve.
	Free func() (int64, error)
	Log  *slog.Logger
}

// Server answers for one mail server.
type Server struct {
	c       Config
	address message.Address
	callers *rpc.Callers
	hub     *hub
	rates   *rates
	gates   *gates
	self    selfAnswer
	live    *relay.Server
	// backoff of prefetches and of publishing itself.
	backoff courier.Backoff
	// introduced remembers which servers have been shown whose bundles.
	introduced *otter.Cache[introduction, bool]
	// friends remembers whom an owner has written to, so that accepting them is
	// not written down with every message.
	friends *otter.Cache[[2]message.Address, bool]
	// served remembers which messages' blobs were marked as handed out.
	served *otter.Cache[serving, bool]
	// prefetch, publish and inquiries wake the goroutines of Run.
	prefetch, publish, inquiries chan struct{}
	// collecting keeps new reservations of blobs out while unused ones are
	// erased: otherwise a blob could be reserved again between leaving the index
	// and leaving the disk.
	collecting sync.RWMutex
}

// New makes a server. It does nothing before it is mounted.
func New(c Config) *Server {
	c.Limits = c.Limits.filled()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	address := c.Keyring.Address()
	s := &Server{
		c: c, address: address,
		callers:    rpc.NewCallers(address, c.Verifier),
		hub:        newHub(c.Limits.WatchersPerAddress, c.Limits.Watchers),
		rates:      newRates(c.Limits),
		gates:      newGates(pullsPerOrigin),
		backoff:    courier.Backoff{First: 10 * time.Second, Max: 6 * time.Hour, Rand: c.Rand},
		introduced: bounded[introduction, bool](100_000),
		friends:    bounded[[2]message.Address, bool](100_000),
		served:     bounded[serving, bool](100_000),
		prefetch:   make(chan struct{}, 1),
		publish:    make(chan struct{}, 1),
		inquiries:  make(chan struct{}, 1),
	}
	s.live = relay.New(relay.Config{Authorizer: doorkeeper{s}, Limits: c.Live, Log: c.Log})
	if c.Courier != nil {
		c.Courier.OnNotice(func(owner message.Address) { s.hub.wake(topic{address: owner}) })
	}
	return s
}

// bounded makes a cache that does its housekeeping in the calls themselves, so
// that no goroutine belongs to it.
func bounded[K comparable, V any](size int) *otter.Cache[K, V] {
	return otter.Must(&otter.Options[K, V]{MaximumSize: size, Executor: func(fn func()) { fn() }})
}

// Mount adds the services and the blobs to what r answers.
func (s *Server) Mount(r *rpc.Server) {
	options := rpc.Options(s.c.Log)
	r.Mount(wirev1connect.NewDirectoryHandler(s, options...))
	r.Mount(wirev1connect.NewMailboxHandler(s, options...))
	r.Mount(wirev1connect.NewExchangeHandler(s, options...))
	r.Mount(blobsPath, http.HandlerFunc(s.blobs))
	r.Mount(relay.Path, s.live)
}

// Run does what has to be done with time: it fetches for owners, erases what is
// over, collects blobs that nothing uses, and keeps the server's own route
// published. It returns nil when ctx has ended and all of that has stopped.
func (s *Server) Run(ctx context.Context) error {
	if err := s.learnTrackers(ctx); err != nil {
		s.c.Log.Error("mailserver: trackers of the accounts", "err", err)
	}
	var group sync.WaitGroup
	group.Go(func() { s.prefetching(ctx) })
	group.Go(func() { s.expiring(ctx) })
	group.Go(func() { s.collectingBlobs(ctx) })
	group.Go(func() { s.republishing(ctx) })
	group.Go(func() { s.inquiring(ctx) })
	group.Go(func() { _ = s.live.Run(ctx) }) // it has no errors
	group.Wait()
	return nil
}

// Live says how many live connections there are.
func (s *Server) Live() relay.Counts { return s.live.Counts() }

// Address is the server's own.
func (s *Server) Address() message.Address { return s.address }

// pause waits for d, for wake, or for ctx; it reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// nudge wakes whoever waits on c; it never waits itself.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
