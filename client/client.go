package client

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	"airdispatch/tracker"
)

// Config is what a Client is made of. RPC.Dial, Rand and one of Home and DB are
// required.
type Config struct {
	// Home is the directory of the local state; DB an opened database instead,
	// which stays the caller's to close.
	Home string
	DB   *sql.DB
	// Keyring is who one is; nil is nobody.
	Keyring *message.Keyring
	// RPC says how to connect; its Verifier and Keyring are filled in.
	RPC  rpc.Config
	Rand io.Reader
	// Trackers to ask besides those that one registered with.
	Trackers []message.Reference
	// Direct is for live connections that do without a relay, with whoever DirectWith admits:
	// both ends learn addresses of each other. nil is never, and without DirectWith it is contacts
	// and one's own devices.
	Direct     *relay.Direct
	DirectWith Admission
	// Progress, where not nil, is told how far long transfers are.
	Progress func(Progress)
	// Log may be nil.
	Log *slog.Logger
}

// Progress is how far one transfer has come.
type Progress struct {
	// Name of the attachment; Stage is "hash", "upload" or "download".
	Name, Stage string
	// Done and Total in bytes.
	Done, Total int64
}

// ErrNoIdentity says that this cannot be done as nobody.
var ErrNoIdentity = errors.New("client: no identity was given")

// ErrNoAccount says that the identity has no account at a mail server.
var ErrNoAccount = errors.New("client: the identity is not registered at a mail server")

// ErrNoKey says that a message was sealed to a box whose key is not here: to one
// that a newer card has replaced, or before this device had it. An edit by its
// sender seals it anew.
var ErrNoKey = errors.New("client: the message was sealed to a key that is not here")

// ErrRewritten says that a sender's history is not the one that was seen
// before. Both statements are kept as evidence.
var ErrRewritten = fmt.Errorf("client: the message's history was rewritten: %w", message.BadSignature)

// Client is one person's client. Safe for concurrent use.
type Client struct {
	c        Config
	home     *home.Home
	known    *store.Known
	verifier crypto.Verifier
	// net asks as the keyring's owner, anon as nobody.
	net, anon *rpc.Client
	// me is zero for nobody.
	me  message.Address
	log *slog.Logger

	// mu guards what follows; never held across a call.
	mu       sync.Mutex
	own      *rpc.Peer
	resolver *tracker.Resolver
	// reached is whether the own server has answered yet.
	reached bool
	// pursued is when trackers were last asked where the own server has gone.
	pursued time.Time

	live live
}

// Open opens the home and makes a Client. It asks nobody yet.
func Open(ctx context.Context, c Config) (*Client, error) {
	if c.RPC.Dial == nil || c.Rand == nil {
		return nil, fmt.Errorf("client: open: RPC.Dial and Rand are required: %w", message.Invalid)
	}
	var h *home.Home
	var err error
	switch {
	case c.DB != nil:
		h, err = home.New(ctx, c.DB)
	case c.Home != "":
		h, err = home.Open(ctx, c.Home)
	default:
		return nil, fmt.Errorf("client: open: Home or DB is required: %w", message.Invalid)
	}
	if err != nil {
		return nil, err
	}
	out := &Client{c: c, home: h, log: c.Log, verifier: crypto.Single{}, live: newLive()}
	if c.RPC.Verifier != nil {
		out.verifier = c.RPC.Verifier
	}
	if out.log == nil {
		out.log = slog.New(slog.DiscardHandler)
	}
	out.known = store.NewKnown(h, out.verifier)
	c.RPC.Verifier, c.RPC.Keyring = out.verifier, nil
	out.anon = rpc.NewClient(c.RPC)
	out.net = out.anon
	if c.Keyring != nil {
		out.me = c.Keyring.Address()
		c.RPC.Keyring = c.Keyring
		out.net = rpc.NewClient(c.RPC)
	}
	if err := h.Expire(ctx, time.Now()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// Close closes connections, listeners and the home.
func (c *Client) Close() error {
	c.live.close()
	c.anon.Close()
	c.net.Close()
	return c.home.Close()
}

// Address is who one is; zero for nobody.
func (c *Client) Address() message.Address { return c.me }

// Account is where one is registered. Errors: ErrNoIdentity, ErrNoAccount.
func (c *Client) Account(ctx context.Context) (home.Account, error) {
	if c.me.IsZero() {
		return home.Account{}, ErrNoIdentity
	}
	a, err := c.home.Account(ctx, c.me)
	if errors.Is(err, message.NotFound) {
		return a, ErrNoAccount
	}
	return a, err
}

// server is the own mail server: as it was last known, or for the first time
// met by its reference. fresh says that it has just been met.
func (c *Client) server(ctx context.Context) (peer *rpc.Peer, fresh bool, err error) {
	a, err := c.Account(ctx)
	if err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	peer = c.own
	c.mu.Unlock()
	if peer != nil {
		return peer, false, nil
	}
	if id, err := c.known.Identity(ctx, a.Server.Address); err == nil && id.Route != nil {
		if peer, err = c.net.Peer(id); err == nil {
			c.setOwn(peer)
			return peer, false, nil
		}
	}
	peer, err = c.meet(ctx, a.Server)
	return peer, true, err
}

// meet makes the acquaintance of the own server anew: it may have other keys or
// hosts than before.
func (c *Client) meet(ctx context.Context, ref message.Reference) (*rpc.Peer, error) {
	peer, answer, err := c.net.Open(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("client: mail server %s: %w", ref.URL, err)
	}
	if err := c.learn(ctx, answer.Subject); err != nil {
		return nil, fmt.Errorf("client: mail server %s: %w", ref.URL, err)
	}
	c.setOwn(peer)
	return peer, nil
}

func (c *Client) setOwn(p *rpc.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = p
	c.resolver = nil
}

// learn remembers a server that described itself; one that shows an older state
// than was seen before is refused.
func (c *Client) learn(ctx context.Context, i *message.Identity) error {
	w := i.Wire()
	w.FirstSeen = nil
	_, err := c.known.Learn(ctx, w, time.Now())
	if errors.Is(err, message.Conflict) {
		return nil
	}
	return err
}

// ask makes a call to the own server. When the server is not where or who it
// was, it is met anew and asked once more; all calls may be repeated.
func (c *Client) ask(ctx context.Context, call func(p *rpc.Peer) error) error {
	err := c.askServer(ctx, call)
	if _, said := errors.AsType[*message.Refused](err); err == nil || said {
		c.mu.Lock()
		c.reached = true
		c.mu.Unlock()
	}
	return err
}

// Reached reports whether the own mail server has answered this client.
func (c *Client) Reached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reached
}

func (c *Client) askServer(ctx context.Context, call func(p *rpc.Peer) error) error {
	p, fresh, err := c.server(ctx)
	if err != nil {
		return err
	}
	err = call(p)
	if _, said := errors.AsType[*message.Refused](err); err == nil || said || fresh || ctx.Err() != nil {
		return err
	}
	if !errors.Is(err, message.Unavailable) && !errors.Is(err, message.BadSignature) {
		return err
	}
	a, accountErr := c.Account(ctx)
	if accountErr != nil {
		return err
	}
	p, meetErr := c.meet(ctx, a.Server)
	if meetErr != nil {
		if p = c.pursue(ctx, a); p == nil {
			return fmt.Errorf("mail server %s: %w", a.Server.URL, err)
		}
	}
	return call(p)
}

// pursueAfter is how often trackers are asked where the own server is: one that
// is down should not cost everybody a look-up with every try.
const pursueAfter = time.Minute

// pursue asks the trackers, not through the own server, where that has gone: its
// operator may have given it another URL. It is nil where they know of none, or
// have been asked a moment ago.
func (c *Client) pursue(ctx context.Context, a home.Account) *rpc.Peer {
	c.mu.Lock()
	asked := time.Since(c.pursued) < pursueAfter
	if !asked {
		c.pursued = time.Now()
	}
	refs := append(slices.Clone(c.c.Trackers), a.Trackers...)
	c.mu.Unlock()
	if asked {
		return nil
	}
	r := tracker.NewResolver(tracker.ResolverConfig{Client: c.net, Nobody: c.anon, Trackers: refs, Known: c.known, Verifier: c.verifier, Log: c.log})
	found, err := r.Fresh(ctx, a.Server.Address)
	if err != nil || found.Subject.Route == nil || len(found.Subject.Route.Hosts) == 0 {
		return nil
	}
	url := found.Subject.Route.Hosts[0].URL
	if url == a.Server.URL {
		return nil
	}
	p, err := c.net.Peer(found.Subject)
	if err != nil {
		return nil
	}
	c.log.InfoContext(ctx, "the own mail server has moved", "from", a.Server.URL, "to", url)
	a.Server.URL = url
	if err := c.home.PutAccount(ctx, a); err != nil {
		return nil
	}
	c.setOwn(p)
	return p
}

// lookups is the resolver: it asks through the own server where there is one.
func (c *Client) lookups(ctx context.Context) *tracker.Resolver {
	c.mu.Lock()
	r, refs := c.resolver, slices.Clone(c.c.Trackers)
	c.mu.Unlock()
	if r != nil {
		return r
	}
	var via *rpc.Peer
	if a, err := c.Account(ctx); err == nil {
		refs = append(refs, a.Trackers...)
		via, _, _ = c.server(ctx) // without it, trackers are asked directly
	}
	r = tracker.NewResolver(tracker.ResolverConfig{Client: c.net, Nobody: c.anon, Trackers: refs, Known: c.known, Verifier: c.verifier, Via: via, Log: c.log})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resolver = r
	return r
}

// identity is what is known of an address, looked up where that is nothing.
func (c *Client) identity(ctx context.Context, a message.Address) (*message.Identity, error) {
	if a == c.me {
		return &message.Identity{Chain: c.c.Keyring.Chain}, nil
	}
	i, err := c.known.Identity(ctx, a)
	if !errors.Is(err, message.NotFound) {
		return i, err
	}
	found, err := c.lookups(ctx).Lookup(ctx, a)
	if err != nil {
		return nil, err
	}
	return found.Subject, nil
}
