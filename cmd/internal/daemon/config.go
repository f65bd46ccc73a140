package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"airdispatch/message"
)

// ConfigFile is the name of the settings file in the data directory.
const ConfigFile = "config.toml"

// maxConfig bounds the settings file.
const maxConfig = 1 << 20

// Config is the settings of one program: a pointer to a struct that embeds
// Settings and adds fields of its own, all with toml tags.
type Config interface {
	// Shared is the embedded part.
	Shared() *Settings
	// Check refuses what does not go together.
	Check() error
}

// Settings is what all server programs are told.
type Settings struct {
	// Listen is where to accept connections.
	Listen HostPort `toml:"listen"`
	// URL is where others reach the server: https://host[:port].
	URL HostURL `toml:"url"`
	// TLS says where the certificate comes from.
	TLS TLSMode `toml:"tls"`
	// TLSCert and TLSKey are the files of TLSFiles, relative to the data
	// directory.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// ACMEEmail and ACMEDirectory are of TLSACME; both may be empty.
	ACMEEmail     string `toml:"acme_email"`
	ACMEDirectory string `toml:"acme_directory"`
	// PrivateNetworks are ranges that this server may connect to although they
	// are loopback or private.
	PrivateNetworks []netip.Prefix `toml:"private_networks"`
	// Metrics is a loopback host:port for /metrics; empty for none.
	Metrics HostPort `toml:"metrics"`
	// Log is how the program logs.
	Log LogSettings `toml:"log"`
}

// LogSettings is how a program logs.
type LogSettings struct {
	// Level is debug, info, warn or error.
	Level LogLevel `toml:"level"`
	// Format is text or json.
	Format LogFormat `toml:"format"`
}

// DefaultSettings is what holds where nobody says otherwise.
func DefaultSettings() Settings {
	return Settings{TLS: TLSPinned, Log: LogSettings{Level: "info", Format: "text"}}
}

// Shared is s itself, so that a struct that embeds Settings is half a Config.
func (s *Settings) Shared() *Settings { return s }

// check refuses settings that do not go together.
func (s *Settings) check() error {
	switch {
	case s.Listen == "":
		return errors.New("listen is missing: the address to accept connections at, as in listen = \"0.0.0.0:443\"")
	case s.URL == "":
		return errors.New("url is missing: where others reach this server, as in url = \"https://mail.example.org\"")
	case s.TLS == TLSFiles && (s.TLSCert == "" || s.TLSKey == ""):
		return errors.New("tls = \"files\" needs tls_cert and tls_key")
	case s.TLS == TLSOff && !s.Listen.Loopback():
		return fmt.Errorf("tls = \"off\" is for a proxy on this machine: listen must be a loopback address, not %s", s.Listen)
	case s.Metrics != "" && !s.Metrics.Loopback():
		return fmt.Errorf("metrics are for this machine: %s is no loopback address", s.Metrics)
	}
	return nil
}

// HostPort is host:port to listen at, with a port.
type HostPort string

// UnmarshalText reads host:port. An empty text is none.
func (h *HostPort) UnmarshalText(b []byte) error {
	text := string(b)
	if text != "" {
		_, port, err := net.SplitHostPort(text)
		if err != nil {
			return fmt.Errorf("%q is not host:port", text)
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			return fmt.Errorf("%q needs a port from 1 to 65535", text)
		}
	}
	*h = HostPort(text)
	return nil
}

// Loopback reports whether nobody but this machine can connect to h.
func (h HostPort) Loopback() bool {
	host, _, err := net.SplitHostPort(string(h))
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// port is the port of h as a number.
func (h HostPort) port() (int, error) {
	_, port, err := net.SplitHostPort(string(h))
	if err != nil {
		return 0, err
	}
	return net.LookupPort("tcp", port)
}

// HostURL is https://host[:port].
type HostURL string

// UnmarshalText reads https://host[:port]. An empty text is none.
func (u *HostURL) UnmarshalText(b []byte) error {
	text := strings.TrimSuffix(string(b), "/")
	if text != "" && message.CheckHostURL(text) != nil {
		return fmt.Errorf("%q is not https://host[:port]", text)
	}
	*u = HostURL(text)
	return nil
}

// Host is the host part, without a port.
func (u HostURL) Host() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

// Port is the port; 443 where none is written.
func (u HostURL) Port() string {
	if parsed, err := url.Parse(string(u)); err == nil && parsed.Port() != "" {
		return parsed.Port()
	}
	return "443"
}

// TLSMode says where the certificate comes from.
type TLSMode string

// The modes.
const (
	// TLSPinned: a self-signed certificate in the data directory, whose key the
	// server's route pins. No authority is needed, and no name.
	TLSPinned TLSMode = "pinned"
	// TLSFiles: files that somebody else renews; they are read again when they
	// change.
	TLSFiles TLSMode = "files"
	// TLSACME: a certificate that is ordered and renewed at an ACME authority.
	TLSACME TLSMode = "acme"
	// TLSOff: plain HTTP for a proxy on the same machine, which does TLS.
	TLSOff TLSMode = "off"
)

// UnmarshalText reads one of the modes.
func (m *TLSMode) UnmarshalText(b []byte) error {
	return oneOf(m, TLSMode(b), TLSPinned, TLSFiles, TLSACME, TLSOff)
}

// LogLevel is debug, info, warn or error.
type LogLevel string

// UnmarshalText reads one of the levels.
func (l *LogLevel) UnmarshalText(b []byte) error {
	return oneOf(l, LogLevel(b), "debug", "info", "warn", "error")
}

// LogFormat is text or json.
type LogFormat string

// UnmarshalText reads one of the formats.
func (f *LogFormat) UnmarshalText(b []byte) error {
	return oneOf(f, LogFormat(b), "text", "json")
}

// oneOf sets to to value if that is one of the allowed.
func oneOf[T ~string](to *T, value T, allowed ...T) error {
	if !slices.Contains(allowed, value) {
		words := make([]string, len(allowed))
		for n, a := range allowed {
			words[n] = string(a)
		}
		return fmt.Errorf("%q is not one of %s", string(value), strings.Join(words, ", "))
	}
	*to = value
	return nil
}

// Duration is a span of time written as 10s, 5m, 72h or 90d.
type Duration time.Duration

// UnmarshalText reads a duration; d counts days. What a time.Duration cannot
// hold, some 292 years, is refused: it would turn negative.
func (d *Duration) UnmarshalText(b []byte) error {
	text, unit := string(b), time.Duration(1)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text, unit = days+"h", 24
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 || parsed > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a duration like 10s, 5m, 72h or 90d", b)
	}
	*d = Duration(parsed * unit)
	return nil
}

// Load fills c, which holds the defaults, from the file in dir, the
// environment, and the flags that were given.
func Load(c Config, dir string, environ []string, flags *pflag.FlagSet) error {
	path := filepath.Join(dir, ConfigFile)
	text, err := readStrictly(c, path)
	if err != nil {
		return err
	}
	from := &sources{path: path, text: text, environ: environ}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), koanftoml.Parser()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := k.Load(env.Provider(".", env.Opt{
		Prefix: "AD_", EnvironFunc: func() []string { return environ },
		TransformFunc: func(key, value string) (string, any) {
			return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "AD_")), "__", "."), value
		},
	}), nil); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if flags != nil {
		err := k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
			if key := f.Annotations[configKey]; len(key) == 1 && f.Changed {
				from.flags = append(from.flags, key[0])
				return key[0], posflag.FlagVal(flags, f)
			}
			return "", nil
		}), nil)
		if err != nil {
			return Usage("flags: %w", err)
		}
	}
	err = k.UnmarshalWithConf("", c, koanf.UnmarshalConf{Tag: "toml", DecoderConfig: &mapstructure.DecoderConfig{
		DecodeHook:       mapstructure.ComposeDecodeHookFunc(listed, mapstructure.TextUnmarshallerHookFunc()),
		WeaklyTypedInput: true, ErrorUnused: true, Squash: true, Result: c,
	}})
	if err != nil {
		return from.decoding(err)
	}
	return errors.Join(from.checked(c.Shared().check()), from.checked(c.Check()))
}

// listed splits a list that came as one text, from the environment or a flag,
// at its commas.
func listed(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	if !ok || from.Kind() != reflect.String || to.Kind() != reflect.Slice {
		return value, nil
	}
	if text == "" {
		return []string{}, nil
	}
	return strings.Split(text, ","), nil
}

// configKey is the annotation of a flag that overrides a setting.
const configKey = "airdispatch-setting"

// SettingFlag adds a flag that overrides a setting.
func SettingFlag(flags *pflag.FlagSet, name, key, usage string) {
	flags.String(name, "", usage)
	// The flag was added just now, so the annotation cannot fail.
	_ = flags.SetAnnotation(name, configKey, []string{key})
}

// readStrictly reads the file for its faults alone, each with its line, and
// returns its text.
func readStrictly(c Config, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; make it with init", path)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: %d bytes are too many for settings", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(c)
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		first := missing.Errors[0]
		return nil, located(path, &first, fmt.Sprintf("unknown setting %q", strings.Join(first.Key(), ".")))
	}
	if fault, ok := errors.AsType[*toml.DecodeError](err); ok {
		return nil, located(path, fault, strings.TrimPrefix(fault.Error(), "toml: "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}
