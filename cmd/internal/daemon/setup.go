package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/durable"
	"airdispatch/store/keyfile"
)

// setup is what init was told.
type setup struct {
	Listen HostPort
	URL    HostURL
	TLS    TLSMode
	// Private ranges that the server may connect to.
	Private []netip.Prefix
	// Own is the program's own part of the settings.
	Own string
	// Program is its name.
	Program string
}

// configText is config.toml as init writes it.
const configText = `# Settings of {{.Program}}. Every one can be overridden by a variable AD_NAME, as in
# AD_LISTEN or AD_LOG__LEVEL. "{{.Program}} config check" says what is wrong, with the line.

# Where to accept connections.
listen = "{{.Listen}}"

# Where others reach this server. It stands in the server's own signed route.
url = "{{.URL}}"

# Where the certificate comes from:
#   "pinned"  tls.crt and tls.key here, self-signed; the route pins the key
#   "files"   tls_cert and tls_key, renewed by somebody else, read again when they change
#   "acme"    ordered and renewed by itself; others must reach port 443 here
#   "off"     plain HTTP on loopback, for a proxy on this machine that does TLS
tls = "{{.TLS}}"
#tls_cert = "/etc/ssl/example.crt"
#tls_key = "/etc/ssl/example.key"
#acme_email = "you@example.org"
#acme_directory = "https://acme-v02.api.letsencrypt.org/directory"

# Private or loopback ranges that this server may connect to. All others are
# refused, whatever a route says.
private_networks = [{{range $n, $p := .Private}}{{if $n}}, {{end}}"{{$p}}"{{end}}]

# Prometheus metrics at /metrics, on loopback only; empty for none.
metrics = ""

{{.Own}}
[log]
# debug, info, warn or error
level = "info"
# text or json
format = "text"
`

// initCommand is init.
func (p *Program) initCommand(c *call) *cobra.Command {
	var listen, url, mode string
	var own func() (string, error)
	cmd := &cobra.Command{
		Use: "init", Short: "Make a data directory: settings, keys, certificate", Args: cobra.NoArgs,
		Long: "Makes a data directory and prints the server's reference, https://host[:port]#address, on stdout.\n" +
			"Everything else, the paper key among it, goes to stderr.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSetup(listen, url, mode)
			if err != nil {
				return err
			}
			s.Program = p.Name
			if own != nil {
				if s.Own, err = own(); err != nil {
					return err
				}
			}
			return p.initialise(cmd.Context(), c, s)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "accept connections at `HOST:PORT`")
	cmd.Flags().StringVar(&url, "url", "", "how others reach the server: `https://host[:port]` (default: https://LISTEN, pinned)")
	cmd.Flags().StringVar(&mode, "tls", "", "pinned, files, acme or off (default: acme for a host name on port 443, else pinned)")
	if p.InitFlags != nil {
		own = p.InitFlags(cmd.Flags())
	}
	return cmd
}

// newSetup checks what init was told and fills in what it was not.
func newSetup(listen, url, mode string) (*setup, error) {
	s := &setup{}
	if listen == "" {
		return nil, Usage("where to listen? give --listen HOST:PORT")
	}
	if err := s.Listen.UnmarshalText([]byte(listen)); err != nil {
		return nil, Usage("--listen: %w", err)
	}
	host, _, _ := net.SplitHostPort(listen)
	if url == "" {
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			return nil, Usage("--listen %s names no host that others could connect to: give --url https://host[:port] too", listen)
		}
		url = "https://" + listen
	}
	if err := s.URL.UnmarshalText([]byte(url)); err != nil {
		return nil, Usage("--url: %w", err)
	}
	s.TLS = TLSPinned
	_, notIP := netip.ParseAddr(s.URL.Host())
	if notIP != nil && s.URL.Port() == "443" && s.URL.Host() != "localhost" && strings.Contains(s.URL.Host(), ".") {
		s.TLS = TLSACME
	}
	if mode != "" {
		if err := s.TLS.UnmarshalText([]byte(mode)); err != nil {
			return nil, Usage("--tls: %w", err)
		}
	}
	if s.TLS == TLSOff && !s.Listen.Loopback() {
		return nil, Usage("--tls off is for a proxy on this machine: --listen must be a loopback address")
	}
	if r, ok := rpc.PrivateRange(listen); ok {
		s.Private = append(s.Private, r)
	}
	return s, nil
}

// initialise makes the data directory. The settings are written last: while
// they are missing, nothing takes the directory for a server's.
func (p *Program) initialise(_ context.Context, c *call, s *setup) (err error) {
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, name := range []string{ConfigFile, identityFile, dataFile} {
		if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: init does not overwrite a server", filepath.Join(dir, name))
		}
	}
	text, err := renderConfig(s)
	if err != nil {
		return err
	}
	now := time.Now()
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		return err
	}
	keyring, err := message.NewKeyring(p.Role, paper, now, rand.Reader)
	if err != nil {
		return err
	}
	if s.TLS == TLSPinned {
		if err := writePinned(root, s.URL.Host(), rand.Reader, now); err != nil {
			return err
		}
	}
	if err := keyfile.Write(filepath.Join(dir, identityFile), keyring, nil); err != nil {
		return err
	}
	if err := writeNew(root, ConfigFile, text); err != nil {
		return err
	}
	ref := message.Reference{URL: string(s.URL), Address: keyring.Address()}
	if err := showPaper(c.std.Err, p, paper); err != nil {
		return err
	}
	nextSteps(c.std.Err, p, dir, s)
	if p.NextSteps != nil {
		_, _ = io.WriteString(c.std.Err, p.NextSteps(dir, ref))
	}
	_, _ = io.WriteString(c.std.Err, "\nThe reference of this server, for others:\n")
	_, err = fmt.Fprintln(c.std.Out, ref)
	return err
}

// writeNew writes a file that only its owner may read and that is not there.
func writeNew(root *os.Root, name string, b []byte) error {
	err := durable.CreateFile(root, name, b, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: init does not overwrite a server", filepath.Join(root.Name(), name))
	}
	return err
}

// renderConfig is the text of config.toml.
func renderConfig(s *setup) ([]byte, error) {
	t, err := template.New(ConfigFile).Parse(configText)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

// showPaper shows the paper key, this once.
func showPaper(w io.Writer, p *Program, paper []byte) error {
	words, err := crypto.Words(paper)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "The paper key of this %s. It is shown once and stored nowhere. Whoever has it can take the\n"+
		"identity back after the key files were stolen or lost: write the 24 words down.\n\n", p.Role)
	for n := 0; err == nil && n < len(words); n += 6 {
		_, err = fmt.Fprintf(w, "  %2d  %s\n", n+1, strings.Join(words[n:n+6], " "))
	}
	return err
}

// nextSteps tells the operator what is left to do.
func nextSteps(w io.Writer, p *Program, dir string, s *setup) {
	host := s.URL.Host()
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
		_, _ = fmt.Fprintf(w, "\nDNS: %s needs an address record, and AAAA if the machine has IPv6:\n\n"+
			"  %s.  3600  IN  A     <IPv4 address of this machine>\n  %s.  3600  IN  AAAA  <IPv6 address of this machine>\n", host, host, host)
	}
	exe, err := os.Executable()
	if err != nil {
		exe = p.Name
	}
	_, _ = fmt.Fprintf(w, "\nsystemd: /etc/systemd/system/%s.service\n\n%s\n"+
		"It runs as a user of its own, to whom the directory then belongs:\n\n"+
		"  useradd --system --home-dir %s --shell /usr/sbin/nologin %s\n  chown -R %s: %s\n",
		p.Name, unit(p, exe, dir), dir, p.Name, p.Name, dir)
	_, _ = fmt.Fprintf(w, "\nNext:\n\n  %s config check --dir %s\n  %s serve --dir %s\n  %s doctor --dir %s\n",
		p.Name, dir, p.Name, dir, p.Name, dir)
	if s.TLS == TLSFiles {
		_, _ = fmt.Fprintf(w, "\nSet tls_cert and tls_key in %s first.\n", filepath.Join(dir, ConfigFile))
	}
}

// unit is a systemd unit that can do little else than serve.
func unit(p *Program, exe, dir string) string {
	return fmt.Sprintf(`  [Unit]
  Description=Airdispatch: %s
  After=network-online.target
  Wants=network-online.target

  [Service]
  ExecStart=%s serve --dir %s
  User=%s
  Restart=on-failure
  AmbientCapabilities=CAP_NET_BIND_SERVICE
  CapabilityBoundingSet=CAP_NET_BIND_SERVICE
  NoNewPrivileges=yes
  ProtectSystem=strict
  ProtectHome=yes
  PrivateTmp=yes
  PrivateDevices=yes
  ReadWritePaths=%s
  UMask=0077
  LimitCORE=0

  [Install]
  WantedBy=multi-user.target
`, p.Title, exe, dir, p.Name, dir)
}
