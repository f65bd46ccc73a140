package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load reads settings from a text.
func load(t testing.TB, text string, environ []string, flags *pflag.FlagSet) (*testConfig, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &testConfig{Settings: DefaultSettings(), Word: "default"}
	return c, Load(c, dir, environ, flags)
}

const goodSettings = "listen = \"127.0.0.1:9\"\nurl = \"https://127.0.0.1:9\"\n"

// TestPrecedence: defaults, file, environment, flags, each over the one before.
func TestPrecedence(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	SettingFlag(flags, "word", "word", "")
	SettingFlag(flags, "log-level", "log.level", "")
	for _, c := range []struct {
		name, text, want string
		environ          []string
		args             []string
	}{
		{"default", goodSettings, "default", nil, nil},
		{"file", goodSettings + "word = \"file\"\n", "file", nil, nil},
		{"environment", goodSettings + "word = \"file\"\n", "environment", []string{"AD_WORD=environment"}, nil},
		{"flag", goodSettings, "flag", []string{"AD_WORD=environment"}, []string{"--word", "flag"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			got, err := load(t, c.text, c.environ, flags)
			if err != nil {
				t.Fatal(err)
			}
			if got.Word != c.want || got.Log.Level != "info" {
				t.Errorf("word %q and level %q, want %q and info", got.Word, got.Log.Level, c.want)
			}
		})
	}
}

func TestSettingsOfAllSorts(t *testing.T) {
	c, err := load(t, goodSettings+`
private_networks = ["10.0.0.0/8", "fd00::/8"]
wait = "90d"
metrics = "[::1]:9100"
[log]
level = "debug"
format = "json"
`, []string{"AD_TLS=off", "AD_LOG__LEVEL=warn"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.PrivateNetworks) != 2 || time.Duration(c.Wait) != 90*24*time.Hour || c.TLS != TLSOff || c.Log != (LogSettings{"warn", "json"}) || !c.Metrics.Loopback() {
		t.Errorf("settings %+v", c)
	}
	c, err = load(t, goodSettings, []string{"AD_PRIVATE_NETWORKS=10.0.0.0/8,192.168.0.0/16"}, nil)
	if err != nil || len(c.PrivateNetworks) != 2 {
		t.Errorf("networks from the environment: %v, %v", c.PrivateNetworks, err)
	}
}

// TestFaultsHaveAPlace: every fault says where the setting was made.
func TestFaultsHaveAPlace(t *testing.T) {
	for _, c := range []struct {
		name, text string
		environ    []string
		want       []string
	}{
		{"unknown", goodSettings + "wrod = 1\n", nil, []string{"config.toml:3:", `"wrod"`}},
		{"unknown in a table", goodSettings + "[log]\nlevl = \"info\"\n", nil, []string{"config.toml:4:", `"log.levl"`}},
		{"syntax", "listen = \n", nil, []string{"config.toml:1:"}},
		{"type", goodSettings + "word = 3\n", nil, []string{"config.toml:3:"}},
		{"value", goodSettings + "\n[log]\n# how much\nlevel = \"loud\"\n", nil, []string{"config.toml:6:", "loud"}},
		{"dotted", goodSettings + "log.level = \"loud\"\n", nil, []string{"config.toml:3:", "loud"}},
		{"list", goodSettings + "private_networks = [\"10.0.0.0/8\",\n \"x\"]\n", nil, []string{"config.toml:", "x"}},
		{"duration", goodSettings + "wait = \"soon\"\n", nil, []string{"config.toml:3:", "soon"}},
		{"listen", "listen = \"nowhere\"\nurl = \"https://127.0.0.1:9\"\n", nil, []string{"config.toml:1:", "host:port"}},
		{"no port", "listen = \"127.0.0.1:0\"\nurl = \"https://127.0.0.1:9\"\n", nil, []string{"config.toml:1:", "port"}},
		{"url", "listen = \"127.0.0.1:9\"\nurl = \"ftp://x\"\n", nil, []string{"config.toml:2:", "https://host"}},
		{"together", goodSettings + "tls = \"files\"\n", nil, []string{"config.toml:3:", "tls_cert"}},
		{"metrics", goodSettings + "metrics = \"0.0.0.0:9\"\n", nil, []string{"config.toml:3:", "loopback"}},
		{"environment", goodSettings, []string{"AD_LOG__LEVEL=loud"}, []string{"AD_LOG__LEVEL", "loud"}},
		{"unknown environment", goodSettings, []string{"AD_NONSENSE=1"}, []string{"nonsense"}},
		{"missing", "", nil, []string{"config.toml", "listen is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text, c.environ, nil)
			if err == nil {
				t.Fatal("no fault was found")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

func TestHugeSettings(t *testing.T) {
	if _, err := load(t, goodSettings+strings.Repeat("#", maxConfig), nil, nil); err == nil {
		t.Error("settings of more than a megabyte were read")
	}
}

// FuzzSettings: any text is settings or an error, and no panic.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(goodSettings))
	f.Add([]byte(goodSettings + "[log]\nlevel = \"loud\"\n[[x]]\na.b = {c = 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := load(t, string(text), nil, nil)
		if err == nil && c.Listen == "" {
			t.Error("settings without listen were taken")
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"10s", "5d", "1.5d", "-1s", "", "d", "99999999999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Duration
		if d.UnmarshalText([]byte(s)) == nil && d < 0 {
			t.Errorf("%q became %d", s, d)
		}
	})
}
