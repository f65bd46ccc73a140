package keyfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/keyfile"
	"airdispatch/store/storetest"
)

func keyring(t testing.TB, seed string) *message.Keyring {
	t.Helper()
	dice := storetest.NewDice(seed)
	paper, err := crypto.RandomBytes(dice, 32)
	if err != nil {
		t.Fatal(err)
	}
	k, err := message.NewKeyring(message.RoleUser, paper, time.Unix(1_780_000_000, 0), dice)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// never is a passphrase that must not be asked for.
func never(t *testing.T) func() (crypto.Secret, error) {
	return func() (crypto.Secret, error) {
		t.Error("somebody was asked for a passphrase without need")
		return nil, nil
	}
}

func say(s string) func() (crypto.Secret, error) {
	return func() (crypto.Secret, error) { return crypto.Secret(s), nil }
}

func TestPlain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "keys")
	path := filepath.Join(dir, "ann.key")
	ann, bob := keyring(t, "ann"), keyring(t, "bob")
	if err := keyfile.Write(path, ann, nil); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", p, info.Mode(), err, want)
		}
	}
	got, err := keyfile.Read(path, never(t))
	if err != nil || got.Address() != ann.Address() || got.Signer.Public() != ann.Signer.Public() || len(got.Boxes) != 2 || len(got.Rotation) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := keyfile.Write(path, bob, nil); !errors.Is(err, message.Conflict) {
		t.Fatalf("a second write: %v, want a conflict", err)
	}
	if got, err = keyfile.Read(path, nil); err != nil || got.Address() != ann.Address() {
		t.Fatalf("a refused write changed the file: %v", err)
	}
	if err := keyfile.Replace(path, bob, nil); err != nil {
		t.Fatal(err)
	}
	if got, err = keyfile.Read(path, nil); err != nil || got.Address() != bob.Address() {
		t.Fatalf("after a replacement: %v", err)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ann.key")
	ann := keyring(t, "ann")
	if err := keyfile.Write(path, ann, crypto.Secret("correct horse")); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || !crypto.IsLocked(raw) || strings.Contains(string(raw), ann.Address().String()) {
		t.Fatalf("the file is not locked: %v", err)
	}
	got, err := keyfile.Read(path, say("correct horse"))
	if err != nil || got.Address() != ann.Address() {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := keyfile.Read(path, say("wrong horse")); !errors.Is(err, crypto.ErrPassphrase) {
		t.Errorf("the wrong passphrase: %v", err)
	}
	if _, err := keyfile.Read(path, nil); !errors.Is(err, message.Denied) {
		t.Errorf("nobody to ask: %v", err)
	}
	gone := errors.New("the person has left")
	if _, err := keyfile.Read(path, func() (crypto.Secret, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("no answer: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ann.key")
	if err := keyfile.Write(path, keyring(t, "ann"), nil); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyfile.Read(path, never(t))
		if !errors.Is(err, message.Denied) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	for name, c := range map[string]struct {
		content []byte
		code    message.Code
	}{
		"empty":     {nil, message.Invalid},
		"truncated": {good[:len(good)/2], message.Invalid},
		"more":      {append(append([]byte{}, good...), "and more"...), message.Invalid},
		"too large": {make([]byte, 9<<20+1), message.TooLarge},
	} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := keyfile.Read(bad, never(t))
		if !errors.Is(err, c.code) {
			t.Errorf("%s: got %v, want %v", name, err, c.code)
		}
		if len(c.content) > 100 && name != "too large" && strings.Contains(err.Error(), string(good[200:240])) {
			t.Errorf("%s: the error repeats the file", name)
		}
	}
	if _, err := keyfile.Read(filepath.Join(dir, "missing"), never(t)); !errors.Is(err, message.NotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := keyfile.Read(dir, never(t)); !errors.Is(err, message.Invalid) {
		t.Errorf("a directory: %v", err)
	}
	if err := keyfile.Write(filepath.Join(path, "below a file"), keyring(t, "ann"), nil); err == nil {
		t.Error("a file is no directory")
	}
}

func ExampleRead() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "keys", "ann.key")
	dice := storetest.NewDice("ann")
	paper, err := crypto.RandomBytes(dice, 32)
	if err != nil {
		panic(err)
	}
	keys, err := message.NewKeyring(message.RoleUser, paper, time.Now(), dice)
	if err != nil {
		panic(err)
	}
	if err := keyfile.Write(path, keys, nil); err != nil {
		panic(err)
	}
	again, err := keyfile.Read(path, nil)
	fmt.Println(again.Address() == keys.Address(), err)
	// Output: true <nil>
}
