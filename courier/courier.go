package courier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
)

// Resolver finds who an address is and which servers its route names. fresh
// asks past every cache. Errors: message.NotFound where the trackers say that
// there is no such address.
type Resolver interface {
	// Find is one look-up.
	Find(ctx context.Context, a message.Address, fresh bool) (subject *message.Identity, servers map[message.Address]*message.Identity, err error)
}

// Config is what a Courier is made of.
type Config struct {
	// Identity is the server's own, as it is published.
	Identity func() *message.Identity
	Client   *rpc.Client
	Resolver Resolver
	Known    *store.Known
	Tasks    store.Tasks
	Outgoing store.Outgoing
	// Deliveries hear what became of each alert.
	Deliveries store.Deliveries
	// Incoming takes the notices to senders.
	Incoming store.Incoming
	Verifier crypto.Verifier
	Rand     io.Reader
	// FirstRetry is the longest wait after a first attempt; 0: 10 s.
	FirstRetry time.Duration
	// MaxRetry is the longest wait; 0: 6 h.
	MaxRetry time.Duration
	// GiveUp is when the sender is told; 0: 5 days. From then on one try a day.
	GiveUp time.Duration
	Log    *slog.Logger
}

const (
	// lease is how long a claim lasts: longer than a call may take, and short,
	// because after a crash it is how long the claimed tasks wait.
	lease = 45 * time.Second
	// callTimeout bounds one call to a server.
	callTimeout = 20 * time.Second
	// lookupTimeout bounds looking one address up.
	lookupTimeout = 15 * time.Second
	// claimSize is how many tasks are claimed at once.
	claimSize = 512
	// window is how many tasks may be under way in the whole courier.
	window = 8192
	// hostQueue is how many of them one server may have: a dead one with many
	// tasks fills its own queue and nobody else's.
	hostQueue = 1024
	// hostWorkers call one server at the same time.
	hostWorkers = 2
	// lookups run at the same time.
	lookups = 32
	// idlePoll is how long the courier sleeps at most: tasks that somebody else
	// added, without a Wake, wait no longer.
	idlePoll = time.Minute
	// daily is the pace of tries after GiveUp.
	daily = 24 * time.Hour
	// drain is how long calls under way may take when the courier stops.
	drain = 5 * time.Second
)

// Courier brings alerts and receipts. Safe for concurrent use.
type Courier struct {
	c       Config
	backoff Backoff
	// phase is where the grid of retries lies.
	phase time.Duration
	wake  chan struct{}
	// introduced remembers which senders' bundles a server has had.
	introduced *otter.Cache[introduction, bool]

	// mu guards what follows; never held across a call.
	mu      sync.Mutex
	hosts   map[message.Address]*host
	claimed map[claim]bool
	noticed func(owner message.Address)
}

// claim is a task under way. A newer version takes over the task of the one
// before, also while that is under way, and is not to wait for it.
type claim struct {
	id      int64
	version uint64
}

// introduction: this server has had this state of this identity.
type introduction struct {
	server message.Address
	card   message.ID
	route  message.ID
}

// New makes a courier. It does nothing before Run.
func New(c Config) *Courier {
	if c.FirstRetry == 0 {
		c.FirstRetry = 10 * time.Second
	}
	if c.MaxRetry == 0 {
		c.MaxRetry = 6 * time.Hour
	}
	if c.GiveUp == 0 {
		c.GiveUp = 5 * 24 * time.Hour
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Courier{
		c: c, backoff: Backoff{First: c.FirstRetry, Max: max(c.MaxRetry, c.FirstRetry), Rand: c.Rand}, phase: Jitter(c.Rand, daily), wake: make(chan struct{}, 1),
		introduced: otter.Must(&otter.Options[introduction, bool]{MaximumSize: 100_000, Executor: func(fn func()) { fn() }}),
		hosts:      make(map[message.Address]*host), claimed: make(map[claim]bool),
	}
}

// Wake says that there is new work. It never waits.
func (c *Courier) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// OnNotice has f called, from any goroutine, whenever an owner's entries have a
// new notice.
func (c *Courier) OnNotice(f func(owner message.Address)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noticed = f
}

// Run brings what is due until ctx ends. Then it claims nothing more, gives the
// calls under way a few seconds, puts back what had not begun, and returns nil.
func (c *Courier) Run(ctx context.Context) error {
	// Calls outlive ctx by drain, so that what was brought is also settled.
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drain, cancel) })
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, lookups)
	for first := true; ; first = false {
		found := 0
		for _, kind := range []store.TaskKind{store.TaskAlert, store.TaskReceipt} {
			tasks, err := c.claim(ctx, kind, first)
			if err != nil && ctx.Err() == nil {
				c.c.Log.Error("courier: claim", "err", err)
			}
			found += len(tasks)
			for _, jobs := range byPeer(tasks) {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					c.putBack(calls, jobs)
					continue
				}
				group.Go(func() {
					defer func() { <-slots }()
					c.dispatch(ctx, calls, &group, jobs[0].Peer, jobs)
				})
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if found == 0 {
			c.sleep(ctx)
		}
	}
}

// claim takes due tasks, without those that are under way already. The first
// claim after a start also takes what is due within a lease: nobody works any
// more on what the last run had claimed when it died.
func (c *Courier) claim(ctx context.Context, kind store.TaskKind, first bool) ([]store.Task, error) {
	c.mu.Lock()
	room := window - len(c.claimed)
	c.mu.Unlock()
	if room <= 0 {
		return nil, nil
	}
	at, hold, limit := time.Now(), lease, claimSize
	if first {
		at, hold, limit = at.Add(lease), 0, window
	}
	tasks, err := c.c.Tasks.Claim(ctx, kind, at, hold, min(limit, room))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := tasks[:0]
	for _, t := range tasks {
		if key := (claim{t.ID, t.Version}); !c.claimed[key] {
			c.claimed[key] = true
			fresh = append(fresh, t)
		}
	}
	return fresh, nil
}

// byPeer groups tasks by whom they are for. The groups keep the order of the
// claim, which is that of when tasks were due: whoever waits longest is looked up
// first, whatever many others wait behind.
func byPeer(tasks []store.Task) [][]store.Task {
	var groups [][]store.Task
	place := make(map[message.Address]int)
	for _, t := range tasks {
		n, ok := place[t.Peer]
		if !ok {
			n = len(groups)
			place[t.Peer], groups = n, append(groups, nil)
		}
		groups[n] = append(groups[n], t)
	}
	return groups
}

// sleep waits for new work, for the next due task, or for idlePoll.
func (c *Courier) sleep(ctx context.Context) {
	wait := idlePoll
	for _, kind := range []store.TaskKind{store.TaskAlert, store.TaskReceipt} {
		if due, err := c.c.Tasks.NextDue(ctx, kind); err == nil {
			wait = min(wait, time.Until(due))
		}
	}
	c.mu.Lock()
	full := len(c.claimed) >= window
	c.mu.Unlock()
	if wait <= 0 || full {
		// Due and yet not claimed: everything due is under way.
		wait = max(wait, 100*time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-c.wake:
	case <-timer.C:
	}
}

// dispatch finds the server of one peer and hands its tasks to that server's
// queue.
func (c *Courier) dispatch(ctx, calls context.Context, group *sync.WaitGroup, peer message.Address, tasks []store.Task) {
	server, err := c.server(ctx, peer, tasks[0])
	switch {
	case ctx.Err() != nil:
		c.putBack(calls, tasks)
	case err != nil:
		outcomes := make([]result, 0, len(tasks))
		for _, t := range tasks {
			outcomes = append(outcomes, result{task: t, err: err, hearsay: true})
		}
		c.settle(calls, outcomes)
	default:
		c.enqueue(ctx, calls, group, server, tasks)
	}
}

// server is the server to bring a peer's tasks to. With several in the route,
// each attempt takes the next one.
func (c *Courier) server(ctx context.Context, peer message.Address, t store.Task) (*message.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	subject, servers, err := c.c.Resolver.Find(ctx, peer, t.Attempts > 0)
	if err != nil && !errors.Is(err, message.NotFound) {
		// Without a tracker, what is known serves: the route may still be right.
		if held, heldErr := c.c.Known.Identity(ctx, peer); heldErr == nil && held.Route != nil {
			subject, err = held, nil
		}
	}
	if err != nil {
		return nil, err
	}
	purpose := message.PurposeInbox
	if t.Kind == store.TaskReceipt {
		purpose = message.PurposeOutbox
	}
	if subject.Chain.Head().Closed {
		return nil, errNowhere
	}
	if subject.Route == nil {
		return nil, message.NotFound
	}
	named := subject.Route.Servers(purpose)
	if len(named) == 0 {
		return nil, errNowhere
	}
	want := named[t.Attempts%len(named)]
	if own := c.c.Identity(); own.Address() == want {
		return own, nil
	}
	if s, ok := servers[want]; ok {
		return s, nil
	}
	s, err := c.c.Known.Identity(ctx, want)
	if errors.Is(err, message.NotFound) {
		return nil, message.Unavailable
	}
	return s, err
}

// errNowhere is what an owner says who has signed that there is no server for this.
var errNowhere = fmt.Errorf("courier: no server: %w", message.NotFound)

// result is what became of one task.
type result struct {
	task store.Task
	// version that was brought: the newest, which may be above the task's.
	version uint64
	// receipt of an alert; nil, without an error, where there was nothing to
	// bring any more.
	receipt *message.Receipt
	err     error
	// hearsay: err comes from looking up, and not from whom the task is for.
	hearsay bool
}

// final reports whether another attempt would end no better. What trackers say is
// never that: one that lies, while the others are away or a clock is wrong, must not cost a
// letter.
func (r result) final() bool {
	if r.err == nil || errors.Is(r.err, errNowhere) {
		return true
	}
	return !r.hearsay && !passing(r.err)
}

// passing reports whether a refusal may be over at the next attempt.
func passing(err error) bool {
	switch message.CodeOf(err) {
	case message.NeedBundle, message.Clock, message.RateLimited, message.StorageFull, message.Unavailable,
		message.Internal, message.Disagreement, message.Unauthenticated, message.Stale, message.BadSignature:
		return true
	}
	return false
}

// settle records results: reports for the senders first, so that a crash
// between the two brings an alert again rather than losing its receipt.
func (c *Courier) settle(ctx context.Context, results []result) {
	now := time.Now()
	var reports []store.Report
	var outcomes []store.Outcome
	for _, r := range results {
		o := store.Outcome{ID: r.task.ID, Version: r.task.Version, Noticed: r.task.Noticed}
		switch {
		case r.err == nil:
			o.Done = true
			if r.receipt != nil && r.task.Kind == store.TaskAlert {
				reports = append(reports, store.Report{
					Ref: r.task.Ref, To: r.task.Peer, Version: r.version, State: store.Alerted, Time: r.receipt.AcceptedAt, Receipt: r.receipt.Signed,
				})
			}
		case r.final():
			o.Done = true
			if r.task.Kind == store.TaskAlert {
				reports = append(reports, store.Report{
					Ref: r.task.Ref, To: r.task.Peer, Version: max(r.version, r.task.Version), State: store.NotTaken, Reason: message.CodeOf(r.err), Time: now,
				})
			}
		default:
			c.later(ctx, r, &o, now)
		}
		outcomes = append(outcomes, o)
	}
	if len(reports) > 0 {
		if err := c.c.Deliveries.Report(ctx, reports); err != nil {
			c.c.Log.Error("courier: report", "err", err)
		}
	}
	c.forget(results)
	if err := c.c.Tasks.Settle(ctx, outcomes); err != nil {
		c.c.Log.Error("courier: settle", "err", err)
	}
	c.Wake()
}

// later decides when to try again, and tells the sender when it has been too long.
func (c *Courier) later(ctx context.Context, r result, o *store.Outcome, now time.Time) {
	attempts := r.task.Attempts + 1
	o.Retry = c.backoff.at(now, attempts, c.phase)
	c.c.Log.Debug("courier: later", "peer", r.task.Peer.Short(), "attempts", attempts, "err", r.err)
	if now.Sub(r.task.Queued) < c.c.GiveUp {
		return
	}
	if r.task.Kind == store.TaskReceipt {
		// A receipt is a courtesy; nobody waits for it that long.
		o.Done = true
		return
	}
	o.Retry = now.Add(daily - Jitter(c.c.Rand, time.Hour))
	if o.Noticed {
		return
	}
	err := c.c.Incoming.Notify(ctx, r.task.Ref.From, store.Notice{
		MID: r.task.Ref.MID, Version: r.task.Version, To: r.task.Peer, Reason: message.CodeOf(r.err), Time: now,
	})
	if err != nil {
		c.c.Log.Error("courier: notify", "err", err)
		return
	}
	o.Noticed = true
	c.mu.Lock()
	tell := c.noticed
	c.mu.Unlock()
	if tell != nil {
		tell(r.task.Ref.From)
	}
}

// putBack settles tasks that were claimed and not begun, so that they are due
// at once when the courier runs again.
func (c *Courier) putBack(ctx context.Context, tasks []store.Task) {
	var outcomes []store.Outcome
	var results []result
	now := time.Now()
	for _, t := range tasks {
		outcomes = append(outcomes, store.Outcome{ID: t.ID, Version: t.Version, Retry: now, Noticed: t.Noticed})
		results = append(results, result{task: t})
	}
	c.forget(results)
	if err := c.c.Tasks.Settle(ctx, outcomes); err != nil {
		c.c.Log.Error("courier: put back", "err", err)
	}
	c.Wake()
}

// forget takes tasks out of those under way, before their outcomes are settled:
// from then on they may be due, and what Run claims while they still stand here
// is passed over and due again at the end of its lease only. After the outcomes
// comes a Wake, since Run may be asleep until then.
func (c *Courier) forget(results []result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range results {
		delete(c.claimed, claim{r.task.ID, r.task.Version})
	}
}
