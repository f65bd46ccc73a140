package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	koanfyaml "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/nearby"
)

// nearbyFlags are the flags of nearby.
type nearbyFlags struct {
	config  string
	peers   []string
	visible bool
	wait    time.Duration
}

// nearbyCommand is nearby: peers on the same network, without servers.
func (a *app) nearbyCommand() *cobra.Command {
	var f nearbyFlags
	cmd := &cobra.Command{
		Use: "nearby serve|list|chat|send|share|fetch|connect|tunnel", Short: "Find peers on the same network, and talk with them without servers", Args: cobra.NoArgs,
		Long: "Finds peers on the same network and exchanges lines, letters and files with them, without\na server and without the internet, or connects to what they serve. Contacts recognise each other, and what goes between them is\nencrypted to their keys; others see that somebody is there and not who, unless\nyou are --visible. Peers of P2P v0.4 can be chatted with; nobody knows who they are.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.which(cmd) },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.config, "config", "", "read settings from `FILE`, TOML, or YAML as P2P v0.4 has it")
	flags.StringArrayVar(&f.peers, "peer", nil, "ask this peer too, where multicast and broadcast do not reach: `HOST:PORT` of its datagrams, 8001 where its settings say nothing else; may be repeated")
	flags.BoolVar(&f.visible, "visible", false, "tell everybody on the network your address, not only contacts")
	flags.DurationVar(&f.wait, "wait", 3*time.Second, "look for peers for so `LONG`")
	cmd.AddCommand(a.nearbyServe(&f), a.nearbyList(&f), a.nearbyChat(&f), a.nearbySend(&f), a.nearbyShare(), a.nearbyFetch(&f), a.nearbyConnect(&f), a.nearbyTunnel(&f))
	return cmd
}

// nearbySettings are the settings of a file, by the names that P2P v0.4 gave them.
type nearbySettings struct {
	LogLevel   string `koanf:"log-level"` // of P2P v0.4; here --verbose says it
	IP         string `koanf:"ip"`
	IsPublicIP bool   `koanf:"is-public-ip"`
	Visible    bool   `koanf:"visible"`
	Websocket  struct {
		Port uint16 `koanf:"port"`
	} `koanf:"websocket"`
	Explorer struct {
		Period    time.Duration `koanf:"period"`
		Multicast struct {
			Address       string `koanf:"address"`
			Address6      string `koanf:"address6"`
			Port          uint16 `koanf:"port"`
			InterfaceName string `koanf:"interface-name"`
		} `koanf:"multicast"`
		Broadcast struct {
			Address string `koanf:"address"`
			Port    uint16 `koanf:"port"`
		} `koanf:"broadcast"`
	} `koanf:"explorer"`
}

// nearbyPort is that of P2P v0.4, for datagrams and for HTTP.
const nearbyPort = 8001

// readNearby reads the settings on top of the defaults.
func readNearby(path string) (*nearbySettings, error) {
	s := &nearbySettings{}
	s.Websocket.Port = nearbyPort
	x := &s.Explorer
	x.Period = 20 * time.Second
	x.Multicast.Address, x.Multicast.Address6, x.Multicast.Port = "235.5.5.11", "ff02::6164", nearbyPort
	x.Broadcast.Address, x.Broadcast.Port = "255.255.255.255", nearbyPort
	if path == "" {
		return s, nil
	}
	var parser koanf.Parser = koanftoml.Parser()
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".yaml" || ext == ".yml" {
		parser = koanfyaml.Parser()
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), parser); err != nil {
		return nil, daemon.Usage("--config %s: %w", path, err)
	}
	err := k.UnmarshalWithConf("", s, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		DecodeHook: mapstructure.StringToTimeDurationHookFunc(), WeaklyTypedInput: true, ErrorUnused: true, TagName: "koanf", Result: s,
	}})
	if err != nil {
		return nil, daemon.Usage("--config %s: %w", path, err)
	}
	return s, nil
}

// fill puts the settings into the configuration of a node.
func (s *nearbySettings) fill(c *nearby.Config) error {
	x := s.Explorer
	c.Port, c.Visible = s.Websocket.Port, s.Visible
	c.Explore = nearby.Explore{Period: x.Period, Port: x.Multicast.Port, Interface: x.Multicast.InterfaceName}
	var errs []error
	group := func(key, text string, port uint16, ok func(netip.Addr) bool) netip.AddrPort {
		if text == "" {
			return netip.AddrPort{}
		}
		ip, err := netip.ParseAddr(text)
		if err != nil || !ok(ip) || port == 0 {
			errs = append(errs, daemon.Usage("%s = %q, port %d: not what it should be", key, text, port))
		}
		return netip.AddrPortFrom(ip, port)
	}
	c.Explore.Multicast = group("explorer.multicast.address", x.Multicast.Address, x.Multicast.Port, func(a netip.Addr) bool { return a.Is4() && a.IsMulticast() })
	c.Explore.Multicast6 = group("explorer.multicast.address6", x.Multicast.Address6, x.Multicast.Port, func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalMulticast() })
	c.Explore.Broadcast = group("explorer.broadcast.address", x.Broadcast.Address, x.Broadcast.Port, netip.Addr.Is4)
	if s.IsPublicIP {
		c.Public = group("ip", s.IP, 1, netip.Addr.IsGlobalUnicast).Addr()
	}
	if c.Port == 0 || c.Explore.Port == 0 || x.Period < 0 {
		errs = append(errs, daemon.Usage("websocket.port, explorer.multicast.port and explorer.period are not negative, and ports not 0"))
	}
	return errors.Join(errs...)
}

// peerJSON is a peer with --json.
type peerJSON struct {
	ID      string `json:"id"`
	Place   string `json:"place"`
	Address string `json:"address,omitempty"`
	Name    string `json:"name,omitempty"`
	State   string `json:"state"`
	Time    string `json:"time"`
}

// provedWithin is how long a peer may take to show its keys.
const provedWithin = 3 * time.Second

// nearbyList is nearby list.
func (a *app) nearbyList(f *nearbyFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List who is on the same network", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, anybody, func(ctx context.Context, c *client.Client) error {
				n, err := a.neighbourhood(ctx, c, *f, nil)
				if err != nil {
					return err
				}
				if err := n.node.Look(ctx, f.wait, nil); err != nil {
					return err
				}
				n.prove(ctx)
				t := a.newTable()
				for _, p := range n.node.Peers() {
					one := n.describe(p)
					if a.json {
						err = a.emit(one)
					} else {
						err = t.row(n.label(p), one.State, one.Place, one.ID, one.Address)
					}
					if err != nil {
						return err
					}
				}
				return t.flush()
			})
		},
	}
}

// nearbySend is nearby send.
func (a *app) nearbySend(f *nearbyFlags) *cobra.Command {
	var l letterFlags
	cmd := &cobra.Command{
		Use: "send PEER [FILE|-]", Short: "Bring a letter to a contact on the same network; its id goes to standard output", Args: cobra.RangeArgs(1, 2),
		Long: "Seals a letter to a contact and brings it there. It lies in their ordinary inbox, and is the\nsame letter when it arrives over servers too: your own server is handed it as well, where\nit can be reached. PEER is a contact or an address.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d client.Draft
			if err := l.fill(&d); err != nil {
				return err
			}
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				n, err := a.neighbourhood(ctx, c, *f, nil)
				if err != nil {
					return err
				}
				to, err := n.target(ctx, args[0])
				if err != nil {
					return err
				}
				return a.write(ctx, writing{args: args[1:], use: func(body string) error {
					d.Body = body
					link, err := n.link(ctx, to)
					if err != nil {
						return err
					}
					defer link.Close()
					sent, err := c.SendNearby(ctx, link, d)
					if err != nil {
						return argument(err)
					}
					a.sayWaits(sent)
					m := headJSON(sent.Head)
					m.State = sentState(sent.Head)
					return a.result(m, "%s\n", sent.Head.Ref())
				}})
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&l.subject, "subject", "", "the subject")
	flags.StringVar(&l.contract, "contract", "", "what you may still do: revisable (the default), final or ephemeral")
	flags.StringVar(&l.expires, "expires", "", "erase it everywhere after `7d`, 36h, 2w, or at a time; implies ephemeral")
	flags.BoolVar(&l.plain, "plain", false, "the body is plain text, not Markdown")
	return cmd
}

// sayWaits tells whoever has brought a letter what the own server has of it.
func (a *app) sayWaits(sent *client.SentNearby) {
	switch {
	case sent.NotTaken != nil:
		a.sayf("it was brought; your mail server does not take it: %s", visible(plain(sent.NotTaken.Error())))
	case sent.Waits != nil:
		a.sayf("it was brought; your mail server could not be reached and gets it later, from the next command that reaches it")
	}
}

// fetchName is what to call a file in an error.
func fetchName(f nearby.File) string { return fmt.Sprintf("%q (%d bytes)", oneLine(f.Name), f.Size) }
