package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"airdispatch/store/durable"
)

func open(t testing.TB) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, e := range entries {
		out += e.Name() + " "
	}
	return out
}

func TestWriteFile(t *testing.T) {
	root, dir := open(t)
	for _, want := range []string{"first", "second, and longer", ""} {
		if err := durable.WriteFile(root, "file", []byte(want), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "file"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if got := names(t, dir); got != "file " {
		t.Fatalf("the directory holds %s", got)
	}
}

func TestCreateFile(t *testing.T) {
	root, dir := open(t)
	if err := durable.CreateFile(root, "file", []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateFile(root, "file", []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v, want that it exists", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil || string(got) != "first" {
		t.Fatalf("got %q, %v", got, err)
	}
	if got := names(t, dir); got != "file " {
		t.Fatalf("the directory holds %s", got)
	}
}

// TestLeftovers: what crashes left behind does not stop later writers, until
// there is so much of it that somebody should look.
func TestLeftovers(t *testing.T) {
	root, dir := open(t)
	for n := range 100 {
		if err := durable.WriteFile(root, "file", []byte{byte(n)}, 0o600); err != nil {
			t.Fatalf("with %d left behind: %v", n, err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file.%d.tmp", n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.WriteFile(root, "file", nil, 0o600); err == nil {
		t.Fatal("no end to temporary files")
	}
}

func TestFailures(t *testing.T) {
	root, dir := open(t)
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../out", "missing/file", "taken"} {
		if err := durable.WriteFile(root, name, []byte("x"), 0o600); err == nil {
			t.Errorf("%s: was written", name)
		}
	}
	if err := durable.SyncDir(root, "missing"); err == nil {
		t.Error("a directory that is not there was synced")
	}
	if got := names(t, dir); got != "taken " {
		t.Fatalf("the directory holds %s", got)
	}
}

func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	if err := durable.WriteFile(root, "greeting", []byte("hello"), 0o600); err != nil {
		panic(err)
	}
	b, err := root.ReadFile("greeting")
	fmt.Println(string(b), err)
	// Output: hello <nil>
}
