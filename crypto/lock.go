package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

const (
	// ageIntro begins an age file that is not armored.
	ageIntro = "age-encryption.org/v1\n"

	// defaultWork is scrypt's log2 N: about a second and 256 MiB on the machine of 2026.
	defaultWork = 18

	// maxWork is the most that Unlock does for somebody else's file: 1 GiB for a moment, not for an hour.
	maxWork = 20
)

// Lock encrypts plain under a passphrase, as an armored age file that the age tool can open too. The work factor is log2
// of scrypt's N, at most 20; 0 means the default, 18. Age takes its randomness from the system.
func Lock(plain []byte, passphrase Secret, workFactor int) ([]byte, error) {
	if workFactor == 0 {
		workFactor = defaultWork
	}
	if workFactor < 1 || workFactor > maxWork {
		return nil, fmt.Errorf("crypto: lock: work factor %d, want 1 to %d", workFactor, maxWork)
	}
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, errors.New("crypto: lock: empty passphrase")
	}
	recipient.SetWorkFactor(workFactor)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		return nil, fmt.Errorf("crypto: lock: %w", err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, fmt.Errorf("crypto: lock: %w", err)
	}
	return out.Bytes(), nil
}

// Unlock decrypts what Lock made, or any age file under a passphrase, armored or not. The wrong passphrase is
// ErrPassphrase. A file that asks for more work than 20 is refused before the work is done.
func Unlock(locked []byte, passphrase Secret) ([]byte, error) {
	identity, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, ErrPassphrase
	}
	identity.SetMaxWorkFactor(maxWork)
	var r io.Reader = bytes.NewReader(locked)
	if !bytes.HasPrefix(locked, []byte(ageIntro)) {
		r = armor.NewReader(r)
	}
	plain, err := age.Decrypt(r, identity)
	if wrong, ok := errors.AsType[*age.NoIdentityMatchError](err); ok && slices.Contains(wrong.StanzaTypes, "scrypt") {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("crypto: unlock: %w", err)
	}
	b, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("crypto: unlock: %w", err)
	}
	return b, nil
}

// IsLocked reports whether b begins like an age file.
func IsLocked(b []byte) bool {
	text := string(b[:min(len(b), 256)])
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), armor.Header) || strings.HasPrefix(text, ageIntro)
}
