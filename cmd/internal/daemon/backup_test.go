package daemon

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airdispatch/crypto"
)

// packed is one entry of an archive that a test makes.
type packed struct {
	name string
	kind byte
	body string
}

// archiveOf writes an archive as somebody might who means harm.
func archiveOf(t testing.TB, entries ...packed) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o600}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.body))
		} else {
			h.Linkname = e.body
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := io.WriteString(w, e.body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked reads an archive.
func unpacked(t *testing.T, path string) []packed {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []packed
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packed{h.Name, tar.TypeReg, string(b)})
	}
}

// sumsOf is sums.json for entries.
func sumsOf(t testing.TB, entries ...packed) packed {
	t.Helper()
	all := map[string]sum{}
	for _, e := range entries {
		id, n, err := crypto.BlobID(strings.NewReader(e.body))
		if err != nil {
			t.Fatal(err)
		}
		all[e.name] = sum{hex.EncodeToString(id[:]), n}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return packed{sumsFile, tar.TypeReg, string(b)}
}

func TestBackupKeepsEverything(t *testing.T) {
	dir, _ := newDir(t)
	blob := filepath.Join(dir, blobDir, "ab", "cdef")
	if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o700), os.WriteFile(blob, bytes.Repeat([]byte("blob"), 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "B")
	s := opens(t, dir)
	before, err := s.storeLog().Place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	succeeds(t, "backup", file, "--dir", dir)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("backup %v, %v; want mode 0600", info, err)
	}
	succeeds(t, "verify", file)
	restored := filepath.Join(t.TempDir(), "E")
	succeeds(t, "restore", file, "--dir", restored)
	for _, name := range []string{ConfigFile, identityFile, certFile, keyFile, filepath.Join(blobDir, "ab", "cdef")} {
		a, errA := os.ReadFile(filepath.Join(dir, name))
		b, errB := os.ReadFile(filepath.Join(restored, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not what it was: %v, %v", name, errA, errB)
		}
	}
	after, err := opens(t, restored).storeLog().Place(t.Context())
	if err != nil || after.Epoch <= before.Epoch {
		t.Errorf("epoch %d after %d, %v", after.Epoch, before.Epoch, err)
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, ".backup-*"))
	if err != nil || len(leftovers) != 0 {
		t.Errorf("left behind: %v, %v", leftovers, err)
	}
}

// TestHostileBackups: an archive is input from outside like any other.
func TestHostileBackups(t *testing.T) {
	dir, _ := newDir(t)
	file := filepath.Join(t.TempDir(), "B")
	succeeds(t, "backup", file, "--dir", dir)
	good := unpacked(t, file)
	body, end := good[:len(good)-1], good[len(good)-1]
	with := func(e ...packed) []packed { return append(append([]packed{}, body...), e...) }
	evil := packed{"../evil", tar.TypeReg, "x"}
	link := packed{"blobs/link", tar.TypeSymlink, "/etc/passwd"}
	extra := packed{"blobs/extra", tar.TypeReg, "x"}
	changed := append([]packed{}, good...)
	changed[1].body = strings.Repeat("x", len(changed[1].body))
	for name, entries := range map[string][]packed{
		"a path that leads out":    append(with(evil), sumsOf(t, with(evil)...)),
		"an absolute path":         append(with(packed{"/tmp/evil", tar.TypeReg, "x"}), end),
		"a hidden way out":         append(with(packed{"blobs/../../evil", tar.TypeReg, "x"}), end),
		"a symbolic link":          append(with(link), end),
		"an unknown name":          append(with(packed{"passwd", tar.TypeReg, "x"}), end),
		"a file that was added":    append(with(extra), end),
		"a file that is missing":   append(append([]packed{}, body[1:]...), end),
		"a file that was changed":  changed,
		"a file twice":             append(with(body[0]), end),
		"no end":                   body,
		"something after the end":  append(append([]packed{}, good...), extra),
		"an end that is no JSON":   with(packed{sumsFile, tar.TypeReg, "{"}),
		"an end that says nothing": with(packed{sumsFile, tar.TypeReg, "null"}),
		"another sort of manifest": {{manifestFile, tar.TypeReg, "[]"}},
		"nothing":                  {},
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad")
			if err := os.WriteFile(bad, archiveOf(t, entries...), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, _, words := runs(t, "verify", bad); code != ExitVerification {
				t.Errorf("verify ended with %d: %s", code, words)
			}
			into := filepath.Join(t.TempDir(), "E")
			if code, _, words := runs(t, "restore", bad, "--dir", into); code != ExitVerification {
				t.Errorf("restore ended with %d: %s", code, words)
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(into), "evil")); err == nil {
				t.Error("a file was written outside")
			}
			if left, err := os.ReadDir(into); err != nil || len(left) != 0 {
				t.Errorf("%d files of a bad backup are left, %v", len(left), err)
			}
		})
	}
}

// TestBackupOfAnother: a mail server is not restored as a tracker.
func TestBackupOfAnother(t *testing.T) {
	dir, _ := newDir(t)
	file := filepath.Join(t.TempDir(), "B")
	succeeds(t, "backup", file, "--dir", dir)
	entries := unpacked(t, file)
	entries[0].body = strings.Replace(entries[0].body, "tracker", "server", 1)
	bad := filepath.Join(t.TempDir(), "bad")
	body := entries[:len(entries)-1]
	if err := os.WriteFile(bad, archiveOf(t, append(append([]packed{}, body...), sumsOf(t, body...))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, words := runs(t, "verify", bad); code != ExitFailed || !strings.Contains(words, "of a server") {
		t.Errorf("verify ended with %d: %s", code, words)
	}
}

// FuzzExtract: any bytes are a backup or an error, and write nothing outside.
func FuzzExtract(f *testing.F) {
	m := packed{manifestFile, tar.TypeReg, `{"format":1,"role":"tracker"}`}
	f.Add(archiveOf(f, m, sumsOf(f, m)))
	f.Add(archiveOf(f, packed{"../x", tar.TypeReg, "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		top := t.TempDir()
		file, dir := filepath.Join(top, "B"), filepath.Join(top, "D")
		if err := errors.Join(os.WriteFile(file, b, 0o600), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		_, _ = testProgram().extract(t.Context(), file, dir, true)
		entries, err := os.ReadDir(top)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, e := range entries {
			names[e.Name()] = true
		}
		if !maps.Equal(names, map[string]bool{"B": true, "D": true}) {
			t.Fatalf("written outside: %v", names)
		}
	})
}
