package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/keyfile"
)

const (
	// keysDir is where a home keeps key files, each named by its address.
	keysDir = "keys"
	// keyExt ends the name of a key file.
	keyExt = ".key"
	// maxPassphrase bounds the line that a passphrase is read from.
	maxPassphrase = 4096
)

// keyPath is the key file of an address.
func (a *app) keyPath(addr message.Address) string {
	return filepath.Join(a.home, keysDir, addr.String()+keyExt)
}

// identities are the addresses whose keys the home has, in order.
func (a *app) identities() ([]message.Address, error) {
	entries, err := os.ReadDir(filepath.Join(a.home, keysDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []message.Address
	for _, e := range entries {
		name, isKey := strings.CutSuffix(e.Name(), keyExt)
		if addr, err := message.ParseAddress(name); isKey && err == nil {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, message.Address.Compare)
	return out, nil
}

// identity is the address to act as: --as, or the only one that there is. It
// is zero where the home has none.
func (a *app) identity() (message.Address, error) {
	if a.as != "" {
		addr, err := message.ParseAddress(a.as)
		if err != nil {
			return message.Address{}, daemon.Usage("--as wants an address, as `adctl id list` prints them: %w", err)
		}
		if _, err := os.Stat(a.keyPath(addr)); errors.Is(err, os.ErrNotExist) {
			return addr, &advised{fmt.Errorf("--as: the home %s has no keys of %s: %w", a.home, addr, message.NotFound), "`adctl id list` tells which identities there are; `adctl id import` takes in a key file"}
		}
		return addr, nil
	}
	all, err := a.identities()
	if err != nil || len(all) == 0 {
		return message.Address{}, err
	}
	if len(all) > 1 {
		return message.Address{}, daemon.Usage("the home has %d identities; choose one with --as (see `adctl id list`)", len(all))
	}
	return all[0], nil
}

// keyring opens the key file of the identity to act as; nil for nobody.
func (a *app) keyring(w who) (*message.Keyring, error) {
	addr, err := a.identity()
	if err != nil {
		return nil, err
	}
	if addr.IsZero() {
		if w == somebody {
			return nil, client.ErrNoIdentity
		}
		return nil, nil
	}
	k, err := keyfile.Read(a.keyPath(addr), a.passphrase)
	if err != nil && keyfileBroken(err) {
		return nil, fmt.Errorf("%w: %w", err, errKeyFile)
	}
	return k, err
}

// errKeyFile says that a key file is not as it was written.
var errKeyFile = errors.New("the key file cannot be used")

// keyfileBroken reports whether err is about what is in a key file, not about
// reading or unlocking it.
func keyfileBroken(err error) bool {
	return errors.Is(err, message.Invalid) || errors.Is(err, message.BadSignature) || errors.Is(err, message.Unsupported)
}

// passphrase finds the passphrase of a key file: a file, the environment, or
// the terminal.
func (a *app) passphrase() (crypto.Secret, error) {
	return a.secret(secretSource{file: a.passphraseFile, env: envPrefix + "PASSPHRASE", prompt: "Passphrase: "})
}

// secretSource is where a passphrase may come from.
type secretSource struct {
	file, env, prompt string
	// twice asks again, for one that is being chosen.
	twice bool
}

// secret reads a passphrase. Without a terminal nobody is asked.
func (a *app) secret(s secretSource) (crypto.Secret, error) {
	if s.file != "" {
		return readSecret(s.file)
	}
	if v, ok := a.env(s.env); ok && v != "" {
		return crypto.Secret(v), nil
	}
	in, ok := a.in.(*os.File)
	if !ok || !isTerminal(a.in) {
		return nil, daemon.Usage("a passphrase is needed: give --passphrase-file FILE, or set %s", s.env)
	}
	first, err := a.prompt(in, s.prompt)
	if err != nil || !s.twice {
		return first, err
	}
	second, err := a.prompt(in, "Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, daemon.Usage("the two passphrases differ")
	}
	if len(first) == 0 {
		return nil, daemon.Usage("an empty passphrase protects nothing; --no-passphrase says that you want that")
	}
	return first, nil
}

// prompt asks on the terminal, without echo.
func (a *app) prompt(in *os.File, words string) (crypto.Secret, error) {
	_, _ = fmt.Fprint(a.err, words) // if the prompt is lost, the reading still works
	b, err := term.ReadPassword(int(in.Fd()))
	_, _ = fmt.Fprintln(a.err) // as above
	return b, err
}

// readSecret is the first line of a file.
func readSecret(path string) (crypto.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxPassphrase)).ReadBytes('\n')
	if closeErr := f.Close(); closeErr != nil {
		return nil, closeErr
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return nil, daemon.Usage("%s: the first line is empty", path)
	}
	return line, nil
}
