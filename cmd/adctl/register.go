package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/tracker"
)

// registeredJSON is register with --json.
type registeredJSON struct {
	Address  string          `json:"address"`
	Server   string          `json:"server"`
	Name     string          `json:"name,omitempty"`
	Expires  string          `json:"expires"`
	Trackers []publishedJSON `json:"trackers"`
}

// publishedJSON is one tracker that a route was published to.
type publishedJSON struct {
	Reference string `json:"reference"`
	Published bool   `json:"published"`
	Error     string `json:"error,omitempty"`
}

// registerCommand is register.
func (a *app) registerCommand() *cobra.Command {
	var server, invite, name string
	cmd := &cobra.Command{
		Use: "register --server REF --tracker REF [--invite TOKEN] [--name NAME]", Short: "Open an account at a mail server and publish the route to it", Args: cobra.NoArgs,
		Long: "Opens an account at a mail server and publishes the signed route to the trackers.\nDone again, it renews the account; with another server it moves the address there.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := client.Registration{Invite: invite, Name: name}
			refs, err := parseReferences("--server", []string{server})
			if err != nil {
				return err
			}
			if name != "" {
				if err := message.CheckUserName(name); err != nil {
					return daemon.Usage("--name: %w", err)
				}
			}
			r.Server = refs[0]
			if r.Trackers, err = a.references(); err != nil {
				return err
			}
			a.allow(r.Server)
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error { return a.register(ctx, c, r) })
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "the mail server's `REF`erence: https://host[:port][#address]")
	cmd.Flags().StringVar(&invite, "invite", "", "an invitation's `TOKEN`, where the server asks for one")
	cmd.Flags().StringVar(&name, "name", "", "claim this `NAME` at the first tracker")
	return cmd
}

// register registers and says what came of it.
func (a *app) register(ctx context.Context, c *client.Client, r client.Registration) error {
	if len(r.Trackers) == 0 {
		account, err := c.Account(ctx)
		if err != nil {
			return daemon.Usage("name a tracker with --tracker REF: without one, nobody finds you")
		}
		r.Trackers = account.Trackers
	}
	done, err := c.Register(ctx, r)
	if done != nil {
		a.sayPublished(done.Published)
	}
	if isRefusal(err) && errors.Is(err, message.Denied) {
		err = &advised{err, "the server may want an invitation (give it with --invite TOKEN), take no new accounts, or have suspended this one: ask its operator"}
	}
	if err != nil {
		return argument(err)
	}
	out := registeredJSON{Address: c.Address().String(), Server: done.Account.Server.String(), Name: done.Name, Expires: rfc3339(done.Account.Expires)}
	for _, p := range done.Published {
		one := publishedJSON{Reference: p.Reference.String(), Published: p.Err == nil}
		if p.Err != nil {
			one.Error = p.Err.Error()
		}
		out.Trackers = append(out.Trackers, one)
	}
	if err := a.result(out, "%s\n", c.Address()); err != nil {
		return err
	}
	a.sayf("registered at %s; mail to the address above arrives there", done.Account.Server.URL)
	if done.Name != "" && done.NameErr == nil {
		a.sayf("your name is %s", done.Name)
	}
	return done.NameErr
}

// sayPublished tells of trackers that did not take the route.
func (a *app) sayPublished(published []tracker.Published) {
	for _, p := range published {
		if p.Err != nil {
			a.sayf("tracker %s did not take the route: %v", p.Reference.URL, p.Err)
		}
	}
}

// unregisterCommand is unregister.
func (a *app) unregisterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unregister", Short: "Close the account: the server erases what it held, trackers say that you are nowhere", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				if err := c.Unregister(ctx); err != nil {
					return err
				}
				a.sayf("%s is at no mail server now; what you have read stays in %s", c.Address(), a.home)
				return nil
			})
		},
	}
}

// personJSON is lookup with --json.
type personJSON struct {
	Address      string       `json:"address"`
	Name         string       `json:"name,omitempty"`
	Role         string       `json:"role"`
	Card         uint64       `json:"card"`
	Servers      []serverJSON `json:"servers"`
	Expires      string       `json:"expires,omitempty"`
	Stale        bool         `json:"stale"`
	Confirmed    bool         `json:"confirmed"`
	Disagreement bool         `json:"disagreement"`
	Closed       bool         `json:"closed"`
	PostQuantum  bool         `json:"post_quantum"`
}

// serverJSON is a mail server of a route, or the host itself.
type serverJSON struct {
	Address string   `json:"address"`
	Hosts   []string `json:"hosts"`
}

// lookupCommand is lookup.
func (a *app) lookupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lookup ADDR|NAME", Short: "Ask trackers about an address, a name@host, a contact or a link", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				p, err := c.Lookup(ctx, args[0])
				if err != nil {
					return argument(err)
				}
				return a.showPerson(p)
			})
		},
	}
}

// showPerson prints what is known of an address.
func (a *app) showPerson(p *client.Person) error {
	head := p.Found.Subject.Chain.Head()
	out := personJSON{
		Address: p.Address.String(), Name: p.Name, Role: head.Role.String(), Card: head.Seq, Servers: []serverJSON{}, Stale: p.Found.Stale,
		Confirmed: p.Found.Confirmed, Disagreement: p.Found.Disagreement, Closed: head.Closed,
	}
	if box, ok := head.Box(); ok {
		out.PostQuantum = box.Kind() == crypto.BoxHybrid
	}
	if route := p.Found.Subject.Route; route != nil {
		out.Expires = rfc3339(route.Expires)
		if len(route.Hosts) != 0 {
			out.Servers = append(out.Servers, serverJSON{p.Address.String(), hosts(p.Found.Subject)})
		}
		for _, s := range route.Services {
			one := serverJSON{Address: s.Server.String(), Hosts: []string{}}
			if i := p.Found.Servers[s.Server]; i != nil {
				one.Hosts = hosts(i)
			}
			out.Servers = append(out.Servers, one)
		}
	}
	if a.json {
		return a.emit(out)
	}
	t := a.newTable()
	var errs []error
	add := func(key, value string) { errs = append(errs, t.row(key, value)) }
	add("address", out.Address)
	if out.Name != "" {
		add("name", out.Name)
	}
	add("role", out.Role)
	for _, s := range out.Servers {
		add("server", s.Address)
		for _, h := range s.Hosts {
			add("host", h)
		}
	}
	if len(out.Servers) == 0 {
		a.sayf("it is at no mail server now")
	}
	a.sayDoubts(p)
	return errors.Join(append(errs, t.flush())...)
}

// sayDoubts tells what is not as it should be.
func (a *app) sayDoubts(p *client.Person) {
	switch {
	case p.Found.Disagreement:
		a.sayf("trackers disagree about this address: compare it with its owner before you write; `adctl contacts accept %s` then takes it as it is", p.Address)
	case !p.Found.Confirmed:
		a.sayf("no tracker confirms this now; it is what was known before")
	case p.Found.Stale:
		a.sayf("the route has expired; mail will be tried there")
	}
	if p.Found.Subject.Chain.Head().Closed {
		a.sayf("the identity is closed: nothing can be sent to it")
	}
}

// hosts are the places of a server.
func hosts(i *message.Identity) []string {
	out := []string{}
	if i.Route != nil {
		for _, h := range i.Route.Hosts {
			out = append(out, h.URL)
		}
	}
	return out
}
