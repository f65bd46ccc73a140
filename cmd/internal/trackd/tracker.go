package trackd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/tracker"
)

// config is config.toml of a tracker.
type config struct {
	daemon.Settings
	// Private serves listed addresses only, and those hosted by listed servers.
	Private bool `toml:"private"`
	// ReservedNames are given to nobody, beside those that never are.
	ReservedNames []string `toml:"reserved_names"`
	// Limits bound who asks how often; see tracker.Limits.
	Limits limits `toml:"limits"`
}

// limits are tracker.Limits as they are written.
type limits struct {
	PublishPerMinute int `toml:"publish_per_minute"`
	PublishBurst     int `toml:"publish_burst"`
	ServerPerMinute  int `toml:"server_per_minute"`
	ServerBurst      int `toml:"server_burst"`
	NetworkPerSecond int `toml:"network_per_second"`
	NetworkBurst     int `toml:"network_burst"`
	LookupsPerSecond int `toml:"lookups_per_second"`
	LookupBurst      int `toml:"lookup_burst"`
	Names            int `toml:"names"`
}

// Check refuses reserved names that are none.
func (c *config) Check() error {
	for _, name := range c.ReservedNames {
		if err := message.CheckUserName(name); err != nil {
			return fmt.Errorf("reserved_names: %w", err)
		}
	}
	return nil
}

// Program is adtrackd.
func Program() *daemon.Program {
	return &daemon.Program{
		Name: "adtrackd", Title: "a tracker", Role: message.RoleTracker,
		NewConfig: func() daemon.Config { return &config{Settings: daemon.DefaultSettings()} },
		InitFlags: initFlags, NextSteps: nextSteps, Serve: serve, Commands: commands,
	}
}

// initFlags adds --private to init.
func initFlags(f *pflag.FlagSet) func() (string, error) {
	private := f.Bool("private", false, "serve listed addresses only (adtrackd allow)")
	return func() (string, error) {
		return fmt.Sprintf(`# Serve only addresses that "adtrackd allow" has listed, and those hosted by a
# listed server; look-ups then need a listed asker too.
private = %t

# Names that are given to nobody, beside those that never are (admin, postmaster, …).
reserved_names = []

[limits]
# Of one address: publications a minute, and at once.
publish_per_minute = 10
publish_burst = 30
# New users that one mail server brings: a minute, and at once.
server_per_minute = 600
server_burst = 10000
# From one network (an IPv4 address, an IPv6 /64): publications and look-ups a
# second, and at once. -1 is no limit.
network_per_second = 50
network_burst = 2000
lookups_per_second = 2000
lookup_burst = 20000
# How many names one address may have.
names = 5
`, *private), nil
	}
}

// nextSteps says what a tracker's operator does next.
func nextSteps(dir string, ref message.Reference) string {
	return fmt.Sprintf("\nMail servers register with it by:  admaild init --tracker '%s' …\n"+
		"In a private network, list them:   adtrackd allow ADDRESS --dir %s\n", ref, dir)
}

// serve runs the tracker.
func serve(ctx context.Context, s *daemon.Site) error {
	own, err := s.Own(ctx)
	if err != nil {
		return err
	}
	front, err := s.Front(ctx)
	if err != nil {
		return err
	}
	c, ok := s.Config.(*config)
	if !ok {
		return fmt.Errorf("settings of another program: %T", s.Config)
	}
	server := tracker.New(tracker.Config{
		Keyring: s.Keyring, Identity: own.Identity, Store: s.Tracker, Verifier: s.Verifier, Rand: s.Rand,
		Private: c.Private, Proxied: c.TLS == daemon.TLSOff, Reserved: c.ReservedNames, Limits: tracker.Limits(c.Limits), Log: s.Log,
	})
	server.Mount(front.Server)
	observe(front.Registry, server)
	front.Ready()
	return daemon.Together(ctx, front.Serve, func(ctx context.Context) error {
		own.Keep(ctx, nil, nil)
		return nil
	})
}

// observe adds the tracker's counters to the metrics.
func observe(r *prometheus.Registry, server *tracker.Server) {
	for _, m := range []struct {
		name, help string
		read       func(tracker.Counters) uint64
	}{
		{"airdispatch_tracker_published_total", "Publications that were taken.", func(c tracker.Counters) uint64 { return c.Published }},
		{"airdispatch_tracker_refused_total", "Publications that were refused.", func(c tracker.Counters) uint64 { return c.Refused }},
		{"airdispatch_tracker_lookups_total", "Queries that were answered.", func(c tracker.Counters) uint64 { return c.Lookups }},
		{"airdispatch_tracker_signed_total", "Answers that were signed anew.", func(c tracker.Counters) uint64 { return c.Signed }},
	} {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help},
			func() float64 { return float64(m.read(server.Counters())) }))
	}
}

// commands are allow, deny and list.
func commands(open daemon.Opener) []*cobra.Command {
	set := func(use, short string, l store.Listing) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				a, err := message.ParseAddress(args[0])
				if err != nil {
					return daemon.Usage("%s is not an address: %s", args[0], firstLine(err))
				}
				return open(cmd, func(ctx context.Context, s *daemon.Site) error {
					return s.Tracker.Listings.SetListing(ctx, a, l)
				})
			},
		}
	}
	forget := set("forget ADDR", "Take an address off the list", store.Unlisted)
	return []*cobra.Command{
		set("allow ADDR", "List an address, of a user or a server, as served", store.Allowed),
		set("deny ADDR", "List an address as refused, in a public tracker too", store.Refused),
		forget,
		{
			Use: "list", Short: "Print the list, one address a line", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return open(cmd, func(ctx context.Context, s *daemon.Site) error {
					return list(ctx, s, cmd.OutOrStdout())
				})
			},
		},
	}
}

// firstLine is what err says first: the fault itself, before its code.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// list prints all listings.
func list(ctx context.Context, s *daemon.Site, w io.Writer) error {
	listed, err := s.Tracker.Listings.Listed(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for a, l := range listed {
		word := "allow"
		if l == store.Refused {
			word = "deny"
		}
		lines = append(lines, word+"\t"+a.String())
	}
	slices.Sort(lines)
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
