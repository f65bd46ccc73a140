package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctor: a healthy server is called so, line by line.
func TestDoctor(t *testing.T) {
	dir, address := newDir(t)
	serving(t, dir, address)
	out := succeeds(t, "doctor", "--dir", dir)
	for _, want := range []string{
		"ok   settings", "ok   keys", "ok   database", "ok   certificate: pinned", "ok   disk", "ok   this server at https://" + address + ": reachable",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
}

// TestDoctorComplains: each fault has a line, and what can still be looked at
// is looked at.
func TestDoctorComplains(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  []string
	}{
		{"not running", func(*testing.T, string) {}, []string{"ok   database", "BAD  this server", "not reachable"}},
		{"settings", func(t *testing.T, dir string) { put(t, filepath.Join(dir, ConfigFile), "nonsense = 1\n") }, []string{"BAD  settings", "config.toml:1"}},
		{"keys", func(t *testing.T, dir string) { put(t, filepath.Join(dir, identityFile), "no key") }, []string{"BAD  keys"}},
		{"no keys", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
				t.Fatal(err)
			}
		}, []string{"BAD  keys"}},
		{"database", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, dataFile), strings.Repeat("this is no database ", 100))
		}, []string{"ok   keys", "BAD  database"}},
		{"certificate", func(t *testing.T, dir string) { put(t, filepath.Join(dir, certFile), "half") }, []string{"BAD  certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := newDir(t)
			c.spoil(t, dir)
			code, out, _ := runs(t, "doctor", "--dir", dir)
			if code != ExitFailed {
				t.Errorf("doctor ended with %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("doctor does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// put writes a file that only its owner may read.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExamineCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	pair(t, filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"))
	s := &Settings{TLS: TLSFiles, TLSCert: "a.crt", TLSKey: "a.key", URL: "https://127.0.0.1"}
	if f := examineCertificate(dir, s); f.Err != nil || !strings.Contains(f.Note, "until") {
		t.Errorf("a good one: %+v", f)
	}
	s.URL = "https://another.example.org"
	if f := examineCertificate(dir, s); f.Err == nil {
		t.Error("a certificate for another host is called good")
	}
	if err := os.Chmod(filepath.Join(dir, "a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := examineCertificate(dir, s); f.Err == nil || !strings.Contains(f.Err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %+v", f)
	}
}

// TestDamagedDatabaseIsNotServed: the operator is told, and nothing is
// repaired behind their back.
func TestDamagedDatabaseIsNotServed(t *testing.T) {
	dir, _ := newDir(t)
	put(t, filepath.Join(dir, dataFile), strings.Repeat("this is no database ", 100))
	code, _, words := runs(t, "serve", "--dir", dir)
	if code != ExitFailed || !strings.Contains(words, dataFile) {
		t.Errorf("serve ended with %d: %s", code, words)
	}
	b, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil || !strings.HasPrefix(string(b), "this is no database") {
		t.Error("the damaged file was changed")
	}
}
