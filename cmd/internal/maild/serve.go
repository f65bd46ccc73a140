package maild

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/courier"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/store"
	"airdispatch/store/blobfile"
	"airdispatch/tracker"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// publishPatience is how long serve waits for a tracker before it says that it
// listens all the same.
const publishPatience = 5 * time.Second

// Program is admaild.
func Program() *daemon.Program {
	return &daemon.Program{
		Name: "admaild", Title: "a mail server", Role: message.RoleServer,
		NewConfig: func() daemon.Config { return newConfig() },
		InitFlags: initFlags, NextSteps: nextSteps, Serve: serve, Blobs: openBlobs, Examine: examine, Commands: commands,
	}
}

// nextSteps says what a mail server's operator does next.
func nextSteps(dir string, ref message.Reference) string {
	return fmt.Sprintf("\nInvite somebody:    admaild invite --dir %s\n"+
		"They then join by:  adctl register --server '%s' --tracker REF --invite TOKEN\n", dir, ref)
}

// parts is everything of a running mail server.
type parts struct {
	site     *daemon.Site
	config   *config
	own      *daemon.Own
	front    *daemon.Front
	resolver *tracker.Resolver
	courier  *courier.Courier
	server   *mailserver.Server
}

// serve runs the mail server.
func serve(ctx context.Context, s *daemon.Site) error {
	c, ok := s.Config.(*config)
	if !ok {
		return fmt.Errorf("settings of another program: %T", s.Config)
	}
	own, err := s.Own(ctx)
	if err != nil {
		return err
	}
	front, err := s.Front(ctx)
	if err != nil {
		return err
	}
	client := s.Client()
	defer client.Close()
	p := &parts{site: s, config: c, own: own, front: front}
	p.resolver = tracker.NewResolver(tracker.ResolverConfig{
		Client: client, Trackers: c.references(), Known: s.Known, Verifier: s.Verifier, Log: s.Log,
	})
	p.courier = courier.New(courier.Config{
		Identity: own.Identity, Client: client, Resolver: mailserver.Directory(p.resolver), Known: s.Known,
		Tasks: s.Mail.Tasks, Outgoing: s.Mail.Outgoing, Deliveries: s.Mail.Deliveries, Incoming: s.Mail.Incoming,
		Verifier: s.Verifier, Rand: s.Rand, Log: s.Log,
		FirstRetry: time.Duration(c.Courier.FirstRetry), MaxRetry: time.Duration(c.Courier.MaxRetry), GiveUp: time.Duration(c.Courier.GiveUp),
	})
	mc := mailserver.Config{
		Keyring: s.Keyring, Identity: own.Identity, Store: s.Mail, Known: s.Known, Resolver: p.resolver, Client: client, Courier: p.courier,
		Verifier: s.Verifier, Rand: s.Rand, Accounts: mailserver.AccountsPolicy(c.Accounts), Limits: c.serverLimits(), Live: c.Live.limits(), Log: s.Log,
		Proxied: c.TLS == daemon.TLSOff,
	}
	if err := leaveRoom(&mc, func() (daemon.Space, error) { return daemon.SpaceOf(s.BlobDir()) }); err != nil {
		return err
	}
	port, err := openPasser(ctx, s, c)
	if err != nil {
		return err
	}
	p.server = mailserver.New(mc)
	p.server.Mount(front.Server)
	observe(front.Registry, s.Mail, time.Now)
	port.observe(front.Registry)
	observeLive(front.Registry, p.server.Live)
	return daemon.Together(ctx, front.Serve, p.server.Run, p.courier.Run, p.publish, port.run)
}

// publish keeps the server's route at its trackers. The first time decides when
// the server says that it is ready: once a tracker has the route, so that
// people can register at once, or as soon as it is clear that none answers.
func (p *parts) publish(ctx context.Context) error {
	var alone sync.Once
	lonely := false
	unreached := func() {
		alone.Do(func() {
			lonely = true
			p.say("no tracker could be reached yet: accounts are served, but nobody new can register or be found; trying on")
			p.front.Ready()
		})
	}
	patience := time.AfterFunc(publishPatience, unreached)
	defer patience.Stop()
	p.own.Keep(ctx, func(ctx context.Context, pub *wirev1.Publication) error {
		_, err := p.resolver.Publish(ctx, pub)
		if err != nil && ctx.Err() == nil {
			unreached()
		}
		return err
	}, func() {
		patience.Stop()
		alone.Do(func() {})
		if lonely {
			p.say("the route is published now")
		}
		lonely = false
		p.front.Ready()
	})
	return nil
}

// say tells the operator something.
func (p *parts) say(text string) {
	_, _ = fmt.Fprintf(p.site.Stderr, "admaild: %s\n", text)
}

// observe adds the mail server's metrics.
func observe(r *prometheus.Registry, m *store.Mail, now func() time.Time) {
	for kind, name := range map[store.TaskKind]string{store.TaskAlert: "alert", store.TaskReceipt: "receipt", store.TaskPrefetch: "prefetch"} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "airdispatch_next_task_seconds", Help: "Seconds until the next task of this kind is due; negative when it waits; 0 without any.",
			ConstLabels: prometheus.Labels{"kind": name},
		}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			due, err := m.Tasks.NextDue(ctx, kind)
			if err != nil {
				return 0
			}
			return due.Sub(now()).Seconds()
		}))
	}
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "airdispatch_log_seq", Help: "Newest place in the server's log.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		place, err := m.Log.Place(ctx)
		if err != nil {
			return 0
		}
		return float64(place.Seq)
	}))
}

// observeLive adds how much the relay has to do.
func observeLive(r *prometheus.Registry, now func() relay.Counts) {
	for name, g := range map[string]struct {
		help string
		of   func(relay.Counts) int
	}{
		"airdispatch_live_sockets":     {"Open sockets of live connections.", func(c relay.Counts) int { return c.Sockets }},
		"airdispatch_live_connections": {"Live connections, with those whose end may come back.", func(c relay.Counts) int { return c.Connections }},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, func() float64 { return float64(g.of(now())) }))
	}
}

// examine looks whether each tracker answers, and has this server's route.
func examine(ctx context.Context, s *daemon.Site) []daemon.Finding {
	c, ok := s.Config.(*config)
	if !ok {
		return nil
	}
	client := s.Client()
	defer client.Close()
	var out []daemon.Finding
	for _, ref := range c.references() {
		f := daemon.Finding{What: "tracker " + ref.URL}
		asking, cancel := context.WithTimeout(ctx, publishPatience)
		r := tracker.NewResolver(tracker.ResolverConfig{
			Client: client, Trackers: []message.Reference{ref}, Known: s.Known, Verifier: s.Verifier, Log: s.Log,
		})
		found, err := r.Fresh(asking, s.Keyring.Address())
		cancel()
		switch {
		case err != nil:
			f.Err = err
		case !found.Confirmed:
			f.Err = fmt.Errorf("does not have this server's route: start the server, or look whether the tracker is private")
		}
		out = append(out, f)
	}
	return out
}

// write prints data.
func write(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// openBlobs opens the directory of blobs, and makes it where there is none.
func openBlobs(dir string) (store.Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	// The directory stays open as long as the program runs.
	return blobfile.Open(root)
}
