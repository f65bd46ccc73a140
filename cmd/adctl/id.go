package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/durable"
	"airdispatch/store/keyfile"
)

// idCommand is id: identities and their key files.
func (a *app) idCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "id", Short: "Identities: make, show, move", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Usage("which? new, show, list, export, import or passphrase")
		},
	}
	cmd.AddCommand(a.idNew(), a.idShow(), a.idList(), a.idExport(), a.idImport(), a.idPassphrase())
	return cmd
}

// identityJSON is one identity with --json.
type identityJSON struct {
	Address string `json:"address"`
	Card    uint64 `json:"card"`
	Locked  bool   `json:"locked"`
	Path    string `json:"path,omitempty"`
}

// idNew is id new.
func (a *app) idNew() *cobra.Command {
	var open bool
	cmd := &cobra.Command{
		Use: "new [--no-passphrase]", Short: "Make an identity; its address goes to standard output, its paper key to standard error", Args: cobra.NoArgs,
		Long: "Makes an identity and keeps its keys in the home, locked under a passphrase.\n\n" +
			"The paper key is shown once and kept nowhere. Whoever has it can replace every\nother key of the identity; write it down and keep it away from this computer.",
		RunE: func(*cobra.Command, []string) error {
			passphrase, err := a.newPassphrase(open, a.passphraseFile, envPrefix+"PASSPHRASE")
			if err != nil {
				return err
			}
			paper, err := crypto.RandomBytes(rand.Reader, 32)
			if err != nil {
				return err
			}
			k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
			if err != nil {
				return err
			}
			if err := keyfile.Write(a.keyPath(k.Address()), k, passphrase); err != nil {
				return err
			}
			if err := a.showPaper(paper); err != nil {
				return err
			}
			addr := k.Address().String()
			return a.result(identityJSON{Address: addr, Locked: len(passphrase) > 0, Path: a.keyPath(k.Address())}, "%s\n", addr)
		},
	}
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "keep the keys unlocked")
	return cmd
}

// newPassphrase chooses the passphrase of a key file; empty with open.
func (a *app) newPassphrase(open bool, file, env string) (crypto.Secret, error) {
	if open {
		return nil, nil
	}
	p, err := a.secret(secretSource{file: file, env: env, prompt: "Choose a passphrase: ", twice: true})
	if err == nil && len(p) == 0 {
		return nil, daemon.Usage("an empty passphrase protects nothing; --no-passphrase says that you want that")
	}
	return p, err
}

// showPaper shows the paper key, this once: words in rows of six, and on a
// terminal a QR code of the same.
func (a *app) showPaper(paper crypto.Secret) error {
	words, err := crypto.Words(paper)
	if err != nil {
		return err
	}
	a.sayf("Your paper key: write these 24 words down. They are shown this once and kept nowhere.")
	a.sayf("Who has lost them and the key file too has lost the identity: nobody can give it back.")
	for row := range 4 {
		var b strings.Builder
		for n := range 6 {
			_, _ = fmt.Fprintf(&b, "%4d %-9s", 6*row+n+1, words[6*row+n])
		}
		a.sayf("%s", strings.TrimRight(b.String(), " "))
	}
	if isTerminal(a.err) {
		a.qr(a.err, strings.Join(words, " "))
	}
	return nil
}

// qr draws a QR code.
func (a *app) qr(w io.Writer, text string) {
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.M, Writer: w, HalfBlocks: true, QuietZone: 2, BlackChar: qrterminal.BLACK_BLACK,
		WhiteChar: qrterminal.WHITE_WHITE, BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}

// describe is what can be said of an identity without its passphrase.
func (a *app) describe(addr message.Address) (identityJSON, error) {
	b, err := os.ReadFile(a.keyPath(addr))
	if err != nil {
		return identityJSON{}, fmt.Errorf("%s: %w", addr, message.NotFound)
	}
	return identityJSON{Address: addr.String(), Locked: crypto.IsLocked(b), Path: a.keyPath(addr)}, nil
}

// idShow is id show.
func (a *app) idShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the address that commands act as, on a terminal also as a QR code", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			addr, err := a.need()
			if err != nil {
				return err
			}
			d, err := a.describe(addr)
			if err != nil {
				return err
			}
			if a.json {
				k, err := keyfile.Read(a.keyPath(addr), a.passphrase)
				if err != nil {
					return err
				}
				d.Card = k.Chain.Head().Seq
				return a.emit(d)
			}
			if isTerminal(a.err) {
				a.qr(a.err, strings.ToUpper(addr.String()))
			}
			return a.printf("%s\n", addr)
		},
	}
}

// need is the identity to act as. Errors: client.ErrNoIdentity.
func (a *app) need() (message.Address, error) {
	addr, err := a.identity()
	if err == nil && addr.IsZero() {
		return addr, fmt.Errorf("the home %s has no identity: %w", a.home, client.ErrNoIdentity)
	}
	return addr, err
}

// idList is id list.
func (a *app) idList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the identities of this home", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := a.identities()
			if err != nil {
				return err
			}
			for _, addr := range all {
				d, err := a.describe(addr)
				if err != nil {
					return err
				}
				if err := a.result(d, "%s\n", addr); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// idExport is id export.
func (a *app) idExport() *cobra.Command {
	return &cobra.Command{
		Use: "export FILE|-", Short: "Copy the key file, as it is locked, for another device or a backup", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			addr, err := a.need()
			if err != nil {
				return err
			}
			// Read first: a file that is damaged or open to others is no backup.
			if _, err := a.describe(addr); err != nil {
				return err
			}
			b, err := os.ReadFile(a.keyPath(addr))
			if err != nil {
				return err
			}
			if args[0] == "-" {
				if isTerminal(a.out) && !crypto.IsLocked(b) {
					return daemon.Usage("the key is not locked; it is not shown on a terminal")
				}
				_, err = a.out.Write(b)
				return err
			}
			root, err := os.OpenRoot(filepath.Dir(args[0]))
			if err != nil {
				return err
			}
			defer root.Close() // opened for its name only
			err = durable.CreateFile(root, filepath.Base(args[0]), b, 0o600)
			if errors.Is(err, os.ErrExist) {
				return &reworded{err, args[0] + " exists; nothing was overwritten"}
			}
			if err != nil {
				return err
			}
			a.sayf("%s: written, readable by you alone", args[0])
			return nil
		},
	}
}

// idImport is id import.
func (a *app) idImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Take in a key file that export made", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var passphrase crypto.Secret
			k, err := keyfile.Read(args[0], func() (p crypto.Secret, err error) {
				passphrase, err = a.passphrase()
				return passphrase, err
			})
			if err != nil {
				return err
			}
			err = keyfile.Write(a.keyPath(k.Address()), k, passphrase)
			if errors.Is(err, message.Conflict) {
				return &reworded{err, fmt.Sprintf("%s is here already; nothing was overwritten", k.Address())}
			}
			if err != nil {
				return err
			}
			addr := k.Address().String()
			return a.result(identityJSON{Address: addr, Card: k.Chain.Head().Seq, Locked: len(passphrase) > 0, Path: a.keyPath(k.Address())}, "%s\n", addr)
		},
	}
}

// idPassphrase is id passphrase.
func (a *app) idPassphrase() *cobra.Command {
	var open bool
	var file string
	cmd := &cobra.Command{
		Use: "passphrase [--new-passphrase-file FILE | --no-passphrase]", Short: "Change the passphrase of the key file", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			addr, err := a.need()
			if err != nil {
				return err
			}
			k, err := keyfile.Read(a.keyPath(addr), a.passphrase)
			if err != nil {
				return err
			}
			next, err := a.newPassphrase(open, file, envPrefix+"NEW_PASSPHRASE")
			if err != nil {
				return err
			}
			if err := keyfile.Replace(a.keyPath(addr), k, next); err != nil {
				return err
			}
			a.sayf("the key file of %s has its new passphrase", addr)
			return nil
		},
	}
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "keep the keys unlocked")
	cmd.Flags().StringVar(&file, "new-passphrase-file", "", "read the new passphrase from the first line of `FILE` (or set ADCTL_NEW_PASSPHRASE)")
	return cmd
}
