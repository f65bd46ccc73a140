package crypto

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// easy is a work factor for tests.
const easy = 2

// locked returns plain under the passphrase "open".
func locked(t testing.TB, plain []byte) []byte {
	t.Helper()
	b, err := Lock(plain, Secret("open"), easy)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLockAndUnlock(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 200_000} {
		plain := noise(t, n)
		b := locked(t, plain)
		if !IsLocked(b) || !IsLocked(append([]byte("\n "), b...)) {
			t.Errorf("%d bytes: IsLocked does not see it", n)
		}
		if got, err := Unlock(b, Secret("open")); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: Unlock = %d bytes, %v", n, len(got), err)
		}
		for _, wrong := range []string{"", "Open", "open "} {
			if _, err := Unlock(b, Secret(wrong)); !errors.Is(err, ErrPassphrase) {
				t.Errorf("passphrase %q: %v", wrong, err)
			}
		}
	}
}

// TestLockIsAge opens with age itself what Lock made, and unlocks what age made, without armor too.
func TestLockIsAge(t *testing.T) {
	t.Parallel()
	identity, err := age.NewScryptIdentity("open")
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(locked(t, []byte("plain")))), identity)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "plain" {
		t.Errorf("age reads %q, %v", got, err)
	}
	recipient, err := age.NewScryptRecipient("open")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(easy)
	binary := ageFile(t, recipient)
	if !IsLocked(binary) {
		t.Error("IsLocked does not see a file without armor")
	}
	if got, err := Unlock(binary, Secret("open")); err != nil || string(got) != "plain" {
		t.Errorf("Unlock = %q, %v", got, err)
	}
}

// ageFile encrypts "plain" with age, without armor.
func ageFile(t testing.TB, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "plain"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLockRefuses(t *testing.T) {
	t.Parallel()
	for _, work := range []int{-1, 21, 1000} {
		if _, err := Lock(nil, Secret("open"), work); err == nil {
			t.Errorf("work factor %d is taken", work)
		}
	}
	if _, err := Lock(nil, nil, easy); err == nil {
		t.Error("an empty passphrase is taken")
	}
}

// TestUnlockRefuses tries what is no locked file, what asks for too much work, and changes that the passphrase survives.
func TestUnlockRefuses(t *testing.T) {
	t.Parallel()
	recipient, err := age.NewScryptRecipient("open")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(easy)
	good := ageFile(t, recipient)
	x25519, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	text := locked(t, []byte("plain"))
	for name, b := range map[string][]byte{
		"empty":            nil,
		"text":             []byte("a key in clear"),
		"cut armor":        text[:len(text)/2],
		"after the end":    append(bytes.Clone(text), "x"...),
		"too much work":    bytes.Replace(good, []byte(" 2\n"), []byte(" 21\n"), 1),
		"far too much":     bytes.Replace(good, []byte(" 2\n"), []byte(" 63\n"), 1),
		"changed at end":   flipped(good, 8*(len(good)-1)),
		"cut at end":       good[:len(good)-1],
		"not a passphrase": ageFile(t, x25519.Recipient()),
	} {
		if got, err := Unlock(b, Secret("open")); err == nil {
			t.Errorf("%s: %q", name, got)
		} else if errors.Is(err, ErrPassphrase) {
			t.Errorf("%s is taken for a wrong passphrase: %v", name, err)
		}
	}
	for _, b := range []string{"", "age", "-----BEGIN PRIVATE KEY-----", strings.Repeat(" ", 300) + string(text)} {
		if IsLocked([]byte(b)) {
			t.Errorf("IsLocked takes %.30q", b)
		}
	}
}

func FuzzUnlock(f *testing.F) {
	recipient, err := age.NewScryptRecipient("open")
	if err != nil {
		f.Fatal(err)
	}
	recipient.SetWorkFactor(easy)
	f.Add(locked(f, []byte("plain")))
	f.Add(ageFile(f, recipient))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("scrypt")) && !bytes.Contains(b, []byte(" 2\n")) {
			return // up to 1 GiB of work is meant to be done
		}
		if plain, err := Unlock(b, Secret("open")); err == nil && len(plain) > len(b) {
			t.Errorf("%d bytes come out of %d", len(plain), len(b))
		}
	})
}
