package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
)

// share is a file that one shares, as the home remembers it.
type share struct {
	Name string    `json:"name"`
	Path string    `json:"path"`
	Size int64     `json:"size"`
	Time time.Time `json:"time"`
	Hash string    `json:"hash"`
}

// sharedJSON is a file with --json.
type sharedJSON struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Hash string `json:"hash"`
	Path string `json:"path,omitempty"`
}

// shelf is what a home shares: nearby.Shelf. It reads the list anew every time, as others
// change it.
type shelf struct{ *app }

func (s *shelf) path() string { return filepath.Join(s.home, nearbyDir, "shares.json") }

// all is the list. A home that has none shares nothing.
func (s *shelf) all() ([]share, error) {
	b, err := os.ReadFile(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []share
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("nearby: %s: %w", s.path(), err)
	}
	return out, nil
}

// put writes the list.
func (s *shelf) put(all []share) error {
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.path()), 0o700); err != nil {
		return err
	}
	part := s.path() + ".part"
	if err := os.WriteFile(part, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, s.path())
}

// stands reports whether a file is still the one that was shared.
func (f share) stands() bool {
	info, err := os.Stat(f.Path)
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size && info.ModTime().Equal(f.Time)
}

// Files is what is shared and has not changed since.
func (s *shelf) Files(context.Context) ([]nearby.File, error) {
	all, err := s.all()
	var out []nearby.File
	for _, f := range all {
		hash, bad := hashOf(f.Hash)
		if bad == nil && f.stands() {
			out = append(out, nearby.File{Name: f.Name, Size: f.Size, Hash: hash})
		}
	}
	return out, err
}

// hashOf reads the hash of a file.
func hashOf(text string) (message.ID, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return message.ID{}, err
	}
	return message.IDFromBytes(b)
}

// Open opens one of them. Errors: message.NotFound.
func (s *shelf) Open(_ context.Context, hash message.ID) (io.ReadSeekCloser, error) {
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.Hash == hash.String() && f.stands() {
			return os.Open(f.Path)
		}
	}
	return nil, message.NotFound
}

// nearbyShare is nearby share.
func (a *app) nearbyShare() *cobra.Command {
	var remove []string
	cmd := &cobra.Command{
		Use: "share [FILE]… [--remove NAME]…", Short: "Share files with contacts on the same network; without any, list what is shared", Args: cobra.ArbitraryArgs,
		Long: "Shares files for as long as `adctl nearby serve` runs. A file that changes is no longer shared\nuntil it is shared again.",
		RunE: func(_ *cobra.Command, args []string) error {
			s := &shelf{app: a}
			all, err := s.all()
			if err != nil {
				return err
			}
			for _, name := range remove {
				n := slices.IndexFunc(all, func(f share) bool { return f.Name == name })
				if n < 0 {
					return fmt.Errorf("nearby: no file %q is shared: %w", name, message.NotFound)
				}
				all = slices.Delete(all, n, n+1)
			}
			for _, path := range args {
				f, err := newShare(path)
				if err != nil {
					return err
				}
				all = append(slices.DeleteFunc(all, func(o share) bool { return o.Name == f.Name }), f)
			}
			if len(all) > nearby.MaxFiles {
				return daemon.Usage("at most %d files can be shared", nearby.MaxFiles)
			}
			if len(args)+len(remove) > 0 {
				if err := s.put(all); err != nil {
					return err
				}
			}
			for _, f := range all {
				if err := a.result(sharedJSON{f.Name, f.Size, f.Hash, f.Path}, "%s\t%d\t%s\n", f.Name, f.Size, f.Path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "share the file of this `NAME` no longer; may be repeated")
	return cmd
}

// newShare reads a file that is to be shared.
func newShare(path string) (share, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return share{}, err
	}
	out := share{Name: filepath.Base(full), Path: full}
	if nearby.CheckFileName(out.Name) != nil {
		return out, daemon.Usage("%s: a file of that name cannot be shared", visible(path))
	}
	f, err := os.Open(full)
	if err != nil {
		return out, daemon.Usage("%w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return out, err
	}
	if !info.Mode().IsRegular() {
		return out, daemon.Usage("%s is no file", visible(path))
	}
	sum := crypto.NewSum()
	if out.Size, err = io.Copy(sum, f); err != nil {
		return out, fmt.Errorf("nearby: share %s: %w", path, err)
	}
	out.Time, out.Hash = info.ModTime(), message.ID(sum.Sum(nil)).String()
	return out, nil
}

// nearbyFetch is nearby fetch.
func (a *app) nearbyFetch(f *nearbyFlags) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "fetch PEER [NAME]", Short: "List what a contact on the same network shares, or fetch a file of it", Args: cobra.RangeArgs(1, 2),
		Long: "Fetches a file into a directory, never over another; what was interrupted goes on where it\nstopped. Every byte is verified before the name appears.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, somebody, func(ctx context.Context, c *client.Client) error {
				n, err := a.neighbourhood(ctx, c, *f, nil)
				if err != nil {
					return err
				}
				w, err := n.target(ctx, args[0])
				if err != nil {
					return err
				}
				l, err := n.link(ctx, w)
				if err != nil {
					return err
				}
				defer l.Close()
				files, err := l.Files(ctx)
				if err != nil {
					return err
				}
				if len(args) == 1 {
					for _, one := range files {
						if err := a.result(sharedJSON{Name: one.Name, Size: one.Size, Hash: one.Hash.String()}, "%s\t%d\n", oneLine(one.Name), one.Size); err != nil {
							return err
						}
					}
					return nil
				}
				at := slices.IndexFunc(files, func(o nearby.File) bool { return o.Name == args[1] })
				if at < 0 {
					return fmt.Errorf("nearby: no file %q is shared there: %w", args[1], message.NotFound)
				}
				return a.fetchInto(ctx, l, files[at], dir)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "save into this `DIR`ectory")
	return cmd
}

// fetchInto saves a file under its name, which appears when all of it is verified.
func (a *app) fetchInto(ctx context.Context, l *nearby.Link, file nearby.File, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return daemon.Usage("--dir: %w", err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it alone
	path := filepath.Join(dir, file.Name)
	if _, err := root.Lstat(file.Name); err == nil {
		return standing(fmt.Errorf("nearby: fetch: %s exists: %w", path, message.Conflict))
	}
	part := "." + file.Hash.String()[:32] + ".part"
	f, err := root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("nearby: fetch: %w", err)
	}
	bars := a.newBars()
	err = l.Fetch(ctx, file, f, func(done int64) {
		bars.progress(client.Progress{Name: file.Name, Stage: "download", Done: done, Total: file.Size})
	})
	bars.finish()
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if errors.Is(err, message.BadSignature) {
			err = errors.Join(err, root.Remove(part))
		}
		return fmt.Errorf("%s: %w", fetchName(file), err)
	}
	// A link fails where the name exists by now; a rename would take its place.
	if err := root.Link(part, file.Name); errors.Is(err, fs.ErrExist) {
		return standing(fmt.Errorf("nearby: fetch: %s exists: %w", path, message.Conflict))
	} else if err != nil {
		return fmt.Errorf("nearby: fetch: %w", err)
	}
	if err := root.Remove(part); err != nil {
		return fmt.Errorf("nearby: fetch: %w", err)
	}
	return a.result(sharedJSON{file.Name, file.Size, file.Hash.String(), path}, "%s\n", path)
}
