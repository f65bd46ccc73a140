package maild

import (
	"context"
	"errors"
	"fmt"
	"net"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
	"airdispatch/passer"
	"airdispatch/store"
)

// passerSettings are the port for MessagePasser programs, and passer.Limits as they are
// written.
type passerSettings struct {
	// Listen is where the port is; empty for none.
	Listen daemon.HostPort `toml:"listen"`
	// TLS lays the server's certificate below the port.
	TLS bool `toml:"tls"`
	// InTheClear lets a port without TLS be reached from other machines.
	InTheClear bool `toml:"in_the_clear"`

	Clients           int             `toml:"clients"`
	ClientsPerAddress int             `toml:"clients_per_address"`
	Connections       int             `toml:"connections"`
	BytesPerSecond    int             `toml:"bytes_per_second"`
	BurstBytes        int             `toml:"burst_bytes"`
	QueueBytes        int             `toml:"queue_bytes"`
	Idle              daemon.Duration `toml:"idle"`
}

// check refuses what does not go together: secrets pass the wires in the clear where
// nothing lies below the port, so that must have been meant.
func (p passerSettings) check(mode daemon.TLSMode) error {
	switch {
	case p.Listen != "" && p.TLS && mode == daemon.TLSOff:
		return errors.New("passer.tls needs a certificate: with tls = \"off\" there is none here")
	case p.Listen != "" && !p.Listen.Loopback() && !p.TLS && !p.InTheClear:
		return fmt.Errorf("passer.listen: %s is no loopback address, and names, secrets and messages would pass in the clear: "+
			"set tls = true, or in_the_clear = true where the network may see them", p.Listen)
	}
	return nil
}

// limits are the limits as the port takes them.
func (p passerSettings) limits() passer.Limits {
	return passer.Limits{
		Clients: p.Clients, ClientsPerAddress: p.ClientsPerAddress, Connections: p.Connections, BytesPerSecond: p.BytesPerSecond,
		BurstBytes: p.BurstBytes, QueueBytes: p.QueueBytes, Idle: time.Duration(p.Idle),
	}
}

// passing is the port while it is served.
type passing struct {
	server   *passer.Server
	listener net.Listener
}

// openPasser opens the port; nil where none is wanted.
func openPasser(ctx context.Context, s *daemon.Site, c *config) (*passing, error) {
	if c.Passer.Listen == "" {
		return nil, nil
	}
	how, open := "in the clear", s.Listen
	if c.Passer.TLS {
		how = "over TLS"
		open = func(ctx context.Context, at daemon.HostPort) (net.Listener, error) {
			return s.ListenTLS(ctx, at, "messagepasser")
		}
	}
	l, err := open(ctx, c.Passer.Listen)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(s.Stderr, "admaild: MessagePasser programs are served at %s, %s\n", c.Passer.Listen, how)
	return &passing{passer.New(passer.Config{Accounts: names{s.Mail}, Limits: c.Passer.limits(), Log: s.Log}), l}, nil
}

// run serves the port.
func (p *passing) run(ctx context.Context) error {
	if p == nil {
		return nil
	}
	return p.server.Serve(ctx, p.listener)
}

// observe adds how much the port has to do.
func (p *passing) observe(r *prometheus.Registry) {
	if p == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "airdispatch_passer_clients", Help: "MessagePasser programs that are logged in.",
	}, func() float64 { return float64(p.server.Counts().Clients) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "airdispatch_passer_connections", Help: "Connections between MessagePasser programs.",
	}, func() float64 { return float64(p.server.Counts().Connections) }))
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "airdispatch_passer_refused_total", Help: "MessagePasser programs that were not let in.",
	}, func() float64 { return float64(p.server.Counts().Refused) }))
}

// names are the accounts of the port: names of the store, which act for their addresses.
type names struct{ m *store.Mail }

// Account reads a name. It is suspended with its address.
func (n names) Account(ctx context.Context, name string) (passer.Account, error) {
	p, err := n.m.Passers.Passer(ctx, name)
	if err != nil {
		return passer.Account{}, err
	}
	a, err := n.m.Accounts.Account(ctx, p.Address)
	return passer.Account{Name: p.Name, Address: p.Address, Secret: p.Secret, Suspended: a.Suspended}, err
}

// MayCall is for everybody who is not blocked by the other's owner.
func (n names) MayCall(ctx context.Context, from, to message.Address) error {
	v, err := n.m.Policies.Verdict(ctx, to, from)
	if err == nil && v == store.Block {
		err = message.Denied
	}
	return err
}

// passerCommand is passer.
func passerCommand(open daemon.Opener) *cobra.Command {
	cmd := &cobra.Command{
		Use: "passer", Short: "Look at the names of MessagePasser programs and change them; also while serving", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return daemon.Usage("which? add, list, remove") },
	}
	cmd.AddCommand(passerAdd(open), passerList(open), passerRemove(open))
	return cmd
}

// passerAdd makes a name. Its secret is printed, this once; what is kept is its hash.
func passerAdd(open daemon.Opener) *cobra.Command {
	return &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Let a program log in as NAME, for an account; prints its secret", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(args[0]); err != nil {
				return err
			}
			return withAddress(open, cmd, args[1], func(ctx context.Context, s *daemon.Site, a message.Address) error {
				secret, err := passer.NewSecret(s.Rand)
				if err != nil {
					return err
				}
				err = s.Mail.Passers.AddPasser(ctx, store.Passer{Name: args[0], Address: a, Secret: passer.HashSecret(secret), Added: time.Now()})
				switch {
				case errors.Is(err, message.NotFound):
					return fmt.Errorf("%s has no account here: %w", a, message.NotFound)
				case errors.Is(err, message.NameTaken):
					return fmt.Errorf("%q is there already; for a new secret remove it first: %w", args[0], message.NameTaken)
				case err != nil:
					return err
				}
				_ = write(cmd.ErrOrStderr(), "the secret of %q, shown once:\n", args[0])
				return write(cmd.OutOrStdout(), "%s\n", []byte(secret))
			})
		},
	}
}

// checkName reads a name from a command line.
func checkName(name string) error {
	if err := passer.CheckName(name); err != nil {
		return daemon.Usage("%q cannot be a name: 1 to 64 bytes, without ':' and spaces, and no address", name)
	}
	return nil
}

// passerList lists the names.
func passerList(open daemon.Opener) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the names, and whom they act for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return open(cmd, func(ctx context.Context, s *daemon.Site) error {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for last := ""; ; {
					page, err := s.Mail.Passers.Passers(ctx, last, 500)
					if err != nil {
						return err
					}
					for _, p := range page {
						if err := write(w, "%s\t%s\t%s\n", p.Name, p.Address, p.Added.Format(time.DateOnly)); err != nil {
							return err
						}
						last = p.Name
					}
					if len(page) == 0 {
						return w.Flush()
					}
				}
			})
		},
	}
}

// passerRemove takes a name away.
func passerRemove(open daemon.Opener) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Take a name away; a program that is logged in goes within a minute", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(args[0]); err != nil {
				return err
			}
			return open(cmd, func(ctx context.Context, s *daemon.Site) error {
				err := s.Mail.Passers.RemovePasser(ctx, args[0])
				if errors.Is(err, message.NotFound) {
					return fmt.Errorf("there is no name %q: %w", args[0], message.NotFound)
				}
				return err
			})
		},
	}
}
