package maild

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/relay"
)

// config is config.toml of a mail server.
type config struct {
	daemon.Settings
	// Trackers are where the server publishes itself and looks others up.
	Trackers []reference `toml:"trackers"`
	// Accounts says who may join: open, invite or list.
	Accounts accounts `toml:"accounts"`
	// Courier is how alerts and receipts are brought.
	Courier courierSettings `toml:"courier"`
	// Prefetch is how accepted mail is fetched on arrival.
	Prefetch prefetch `toml:"prefetch"`
	// Live bounds live connections; see relay.Limits.
	Live live `toml:"live"`
	// Passer is the port for MessagePasser programs.
	Passer passerSettings `toml:"passer"`
	// Limits bound what accounts and others may do; see mailserver.Limits.
	Limits limits `toml:"limits"`
}

// reference is a tracker's reference, as it is written.
type reference message.Reference

// UnmarshalText reads https://host[:port][#address].
func (r *reference) UnmarshalText(b []byte) error {
	ref, err := message.ParseReference(string(b))
	if err != nil {
		return fmt.Errorf("%q is not https://host[:port]#address", b)
	}
	*r = reference(ref)
	return nil
}

// accounts is a policy, as it is written.
type accounts mailserver.AccountsPolicy

// UnmarshalText reads one of the policies.
func (a *accounts) UnmarshalText(b []byte) error {
	p, err := mailserver.ParseAccounts(string(b))
	if err != nil {
		return fmt.Errorf("%q is not one of open, invite, list", b)
	}
	*a = accounts(p)
	return nil
}

// courierSettings are the courier's waits.
type courierSettings struct {
	FirstRetry daemon.Duration `toml:"first_retry"`
	MaxRetry   daemon.Duration `toml:"max_retry"`
	GiveUp     daemon.Duration `toml:"give_up"`
}

// prefetch is how long a fetch on arrival waits, and how long copies stay.
type prefetch struct {
	Jitter daemon.Duration `toml:"jitter"`
	Keep   daemon.Duration `toml:"keep"`
}

// live are relay.Limits as they are written.
type live struct {
	Sockets               int             `toml:"sockets"`
	SocketsPerAddress     int             `toml:"sockets_per_address"`
	Connections           int             `toml:"connections"`
	ConnectionsPerAddress int             `toml:"connections_per_address"`
	BytesPerSecond        int             `toml:"bytes_per_second"`
	BurstBytes            int             `toml:"burst_bytes"`
	Idle                  daemon.Duration `toml:"idle"`
}

// limits are the limits as the relay takes them.
func (l live) limits() relay.Limits {
	return relay.Limits{
		Sockets: l.Sockets, SocketsPerAddress: l.SocketsPerAddress, Connections: l.Connections, ConnectionsPerAddress: l.ConnectionsPerAddress,
		BytesPerSecond: l.BytesPerSecond, BurstBytes: l.BurstBytes, Idle: time.Duration(l.Idle),
	}
}

// limits are mailserver.Limits as they are written.
type limits struct {
	AccountBytes       int64 `toml:"account_bytes"`
	AccountMessages    int64 `toml:"account_messages"`
	SubmitsPerSecond   int   `toml:"submits_per_second"`
	SubmitBurst        int   `toml:"submit_burst"`
	AlertsPerSecond    int   `toml:"alerts_per_second"`
	AlertBurst         int   `toml:"alert_burst"`
	CallsPerSecond     int   `toml:"calls_per_second"`
	CallBurst          int   `toml:"call_burst"`
	Watchers           int   `toml:"watchers"`
	WatchersPerAddress int   `toml:"watchers_per_address"`
	NetworkPerSecond   int   `toml:"network_per_second"`
	NetworkBurst       int   `toml:"network_burst"`
	ReserveBytes       int64 `toml:"reserve_bytes"`
}

// reserve is the free space that uploads leave on a file system that is not small.
const reserve = 1 << 30

// newConfig is what holds where nobody says otherwise.
func newConfig() *config {
	return &config{
		Settings: daemon.DefaultSettings(),
		Courier: courierSettings{
			FirstRetry: daemon.Duration(10 * time.Second), MaxRetry: daemon.Duration(6 * time.Hour), GiveUp: daemon.Duration(5 * 24 * time.Hour),
		},
		Prefetch: prefetch{Jitter: daemon.Duration(10 * time.Minute), Keep: daemon.Duration(30 * 24 * time.Hour)},
	}
}

// Check refuses what does not go together.
func (c *config) Check() error {
	switch {
	case len(c.Trackers) == 0:
		return errors.New("trackers is empty: without a tracker nobody finds the addresses here, as in trackers = [\"https://tracker.example.org#ad1…\"]")
	case c.Courier.FirstRetry == 0:
		return errors.New("courier.first_retry must be above 0, as in first_retry = \"10s\"")
	case c.Courier.FirstRetry > daemon.Duration(10*time.Second):
		return errors.New("courier.first_retry is at most 10s: mail is not held up by one lost connection")
	case c.Courier.MaxRetry < c.Courier.FirstRetry:
		return errors.New("courier.max_retry is below courier.first_retry")
	case c.Courier.GiveUp == 0:
		return errors.New("courier.give_up must be above 0, as in give_up = \"5d\"")
	}
	return c.Passer.check(c.TLS)
}

// references are the trackers.
func (c *config) references() []message.Reference {
	var refs []message.Reference
	for _, r := range c.Trackers {
		refs = append(refs, message.Reference(r))
	}
	return refs
}

// serverLimits are the limits as the server takes them; its zero is the default
// and its negative no limit, so a jitter of nothing becomes negative.
func (c *config) serverLimits() mailserver.Limits {
	l := c.Limits
	jitter := time.Duration(c.Prefetch.Jitter)
	if jitter == 0 {
		jitter = -1
	}
	keep := time.Duration(c.Prefetch.Keep)
	if keep == 0 {
		keep = -1
	}
	return mailserver.Limits{
		Bytes: l.AccountBytes, Messages: l.AccountMessages, SubmitsPerSecond: l.SubmitsPerSecond, SubmitBurst: l.SubmitBurst,
		AlertsPerSecond: l.AlertsPerSecond, AlertBurst: l.AlertBurst, CallsPerSecond: l.CallsPerSecond, CallBurst: l.CallBurst,
		Watchers: l.Watchers, WatchersPerAddress: l.WatchersPerAddress, PrefetchJitter: jitter, CopiesFor: keep,
		NetworkPerSecond: l.NetworkPerSecond, NetworkBurst: l.NetworkBurst, ReserveBytes: l.ReserveBytes,
	}
}

// leaveRoom has uploads leave a reserve where blobs are kept. Without a setting
// that is the server's default, or a twentieth of a small file system. Where
// free space cannot be told there is none.
func leaveRoom(c *mailserver.Config, space func() (daemon.Space, error)) error {
	now, err := space()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if c.Limits.ReserveBytes == 0 {
		// Above 0, which would be the default again.
		c.Limits.ReserveBytes = max(min(reserve, now.Total/20), 1)
	}
	c.Free = func() (int64, error) {
		now, err := space()
		return now.Free, err
	}
	return nil
}

// initFlags adds --tracker and --accounts to init.
func initFlags(f *pflag.FlagSet) func() (string, error) {
	trackers := f.StringArray("tracker", nil, "reference of a tracker, `https://host[:port]#address`; may be given several times")
	policy := f.String("accounts", "invite", "who may join: open, invite or list")
	return func() (string, error) {
		if len(*trackers) == 0 {
			return "", daemon.Usage("which tracker? give --tracker REF: what adtrackd init printed")
		}
		var quoted []string
		for _, t := range *trackers {
			ref, err := message.ParseReference(t)
			if err != nil {
				return "", daemon.Usage("--tracker: %w", err)
			}
			quoted = append(quoted, fmt.Sprintf("%q", ref))
		}
		p, err := mailserver.ParseAccounts(*policy)
		if err != nil {
			return "", daemon.Usage("--accounts: open, invite or list, not %q", *policy)
		}
		return fmt.Sprintf(ownConfig, strings.Join(quoted, ",\n  "), p), nil
	}
}

// ownConfig is a mail server's part of config.toml.
const ownConfig = `# Trackers: where this server publishes its route and looks others up.
trackers = [
  %s,
]

# Who may join: "open" (anybody), "invite" (with a token of "admaild invite"),
# "list" (whom "admaild user allow" has listed).
accounts = "%s"

[courier]
# The longest wait before an alert is tried again, at first (10s at most) and at
# last; and when the sender is told that it could not be brought.
first_retry = "10s"
max_retry = "6h"
give_up = "5d"

[prefetch]
# Mail of accepted senders is fetched on arrival after a random wait up to this,
# so that a fetch does not tell when the owner reads.
jitter = "10m"
# How long a fetched copy stays after a device of the owner has taken it.
keep = "30d"

[limits]
# Of a new account: bytes and messages that it may keep here. 0 is the default
# (10 GiB, 100000), -1 no limit; "admaild user quota" changes one account.
account_bytes = 0
account_messages = 0
# Of one account, one sending server, one caller: a second, and at once. 0 is the
# default, -1 no limit.
submits_per_second = 0
submit_burst = 0
alerts_per_second = 0
alert_burst = 0
calls_per_second = 0
call_burst = 0
# Open watch streams: in all, and of one address.
watchers = 0
watchers_per_address = 0
# From one network (IPv4 address, IPv6 /64) of those who read what is public and
# do not say who they are: a second, and at once.
network_per_second = 0
network_burst = 0
# Free space that attachments leave on the disk, so that letters go on; 0 is
# 1 GiB or a twentieth of the file system, whichever is less; -1 leaves none.
reserve_bytes = 0

[live]
# Live connections: open sockets and connections, in all and of one address; bytes
# that one address may send, a second and at once; and how long a connection may
# be silent. 0 is the default, -1 no limit.
sockets = 0
sockets_per_address = 0
connections = 0
connections_per_address = 0
bytes_per_second = 0
burst_bytes = 0
idle = "1h"

[passer]
# A port for existing MessagePasser programs, which log in with a name and secret of
# "admaild passer add"; empty for none. Whoever runs this server sees all that they
# say; without TLS, so does the network. tls = true shows the certificate of above.
listen = ""
tls = false
in_the_clear = false
# Programs that are logged in, in all and for one address; connections of one; bytes
# that one address may send, a second and at once; what may wait for one program; and
# how long one may be silent. 0 is the default, -1 no limit.
clients = 0
clients_per_address = 0
connections = 0
bytes_per_second = 0
burst_bytes = 0
queue_bytes = 0
idle = "24h"

`
