package daemon

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"airdispatch/crypto"
	"airdispatch/store/durable"
)

// A backup is a tar file: manifest.json, the files of the data directory, and
// last sums.json, which has the hash and size of each. An archive without its
// end was cut off, and is refused.
const (
	manifestFile = "manifest.json"
	sumsFile     = "sums.json"
	// backupFormat is the only one there is.
	backupFormat = 1
	// maxSmall bounds the files that are read into memory.
	maxSmall = 64 << 20
)

// errDamaged says that a backup is not what was written.
var errDamaged = errors.New("the backup is damaged")

// manifest says what a backup is of.
type manifest struct {
	Format  int       `json:"format"`
	Role    string    `json:"role"`
	Address string    `json:"address"`
	Time    time.Time `json:"time"`
}

// sum is what one file in the archive must be.
type sum struct {
	Hash string `json:"hash"`
	Size int64  `json:"size"`
}

// backupCommand is backup.
func (p *Program) backupCommand(c *call) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write everything, keys included, to one file; also while serving", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := p.open(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return p.backup(cmd.Context(), s, args[0])
		},
	}
}

// backup writes the archive beside its place and renames it when it is whole.
func (p *Program) backup(ctx context.Context, s *Site, target string) (err error) {
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: backup does not overwrite", target)
	}
	out, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	if err := errors.Join(p.archive(ctx, s, out), out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// Link and not rename: what appeared there meanwhile stays.
	if err := os.Link(out.Name(), target); err != nil {
		return err
	}
	if err := os.Remove(out.Name()); err != nil {
		return err
	}
	dir, err := os.OpenRoot(filepath.Dir(target))
	if err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(dir, "."), dir.Close())
}

// archive writes the archive. The database comes first: a blob that it names
// is there until the collector takes it, so what is copied later is complete.
func (p *Program) archive(ctx context.Context, s *Site, w io.Writer) (err error) {
	snapshots, err := os.MkdirTemp(s.Dir, ".backup-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(snapshots)) }()
	snapshot := filepath.Join(snapshots, dataFile)
	if err := s.Data.Backup(ctx, snapshot); err != nil {
		return err
	}
	a := &archiver{ctx: ctx, tar: tar.NewWriter(w), sums: make(map[string]sum)}
	a.json(manifestFile, manifest{
		Format: backupFormat, Role: p.Role.String(), Address: s.Keyring.Address().String(), Time: time.Now().UTC().Truncate(time.Second),
	})
	a.file(dataFile, snapshot)
	for _, name := range []string{ConfigFile, identityFile, certFile, keyFile} {
		if _, err := os.Lstat(filepath.Join(s.Dir, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		a.file(name, filepath.Join(s.Dir, name))
	}
	a.tree(s.Dir, blobDir)
	a.tree(s.Dir, acmeDir)
	a.json(sumsFile, a.sums)
	return errors.Join(a.err, a.tar.Close())
}

// archiver writes files into an archive; after the first error it does nothing.
type archiver struct {
	ctx  context.Context
	tar  *tar.Writer
	sums map[string]sum
	err  error
}

// add writes one file of a known size.
func (a *archiver) add(name string, size int64, r io.Reader) {
	if a.err == nil {
		a.err = a.ctx.Err()
	}
	if a.err != nil {
		return
	}
	if a.err = a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); a.err != nil {
		return
	}
	h := crypto.NewBlobHasher()
	if _, a.err = io.CopyN(io.MultiWriter(a.tar, h), r, size); a.err != nil {
		a.err = fmt.Errorf("%s: %w", name, a.err)
		return
	}
	id, _ := h.Sum()
	a.sums[name] = sum{hex.EncodeToString(id[:]), size}
}

// json writes a value.
func (a *archiver) json(name string, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil && a.err == nil {
		a.err = err
	}
	a.add(name, int64(len(b)), strings.NewReader(string(b)))
}

// file writes a file.
func (a *archiver) file(name, from string) {
	if a.err != nil {
		return
	}
	f, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		// Collected since it was listed: nothing in the snapshot needs it then.
		return
	}
	if err != nil {
		a.err = err
		return
	}
	info, err := f.Stat()
	if err != nil {
		a.err = err
	} else {
		a.add(name, info.Size(), f)
	}
	a.err = errors.Join(a.err, f.Close())
}

// tree writes all regular files below a directory, if it is there.
func (a *archiver) tree(dir, below string) {
	if a.err != nil {
		return
	}
	err := filepath.WalkDir(filepath.Join(dir, below), func(full string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(full, ".tmp") {
			return err
		}
		rel, err := filepath.Rel(dir, full)
		if err != nil {
			return err
		}
		a.file(filepath.ToSlash(rel), full)
		return a.err
	})
	if a.err == nil {
		a.err = err
	}
}

// verifyCommand is verify.
func (p *Program) verifyCommand(c *call) *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Look whether a backup is whole and could be restored", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			dir, err := os.MkdirTemp("", p.Name+"-verify-*")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			m, err := p.extract(cmd.Context(), args[0], dir, false)
			if err != nil {
				return err
			}
			if err := p.examineRestored(cmd.Context(), dir, m); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.std.Err, "%s: whole; %s %s of %s\n", args[0], m.Role, m.Address, m.Time.Format(time.RFC3339))
			return err
		},
	}
}

// restoreCommand is restore.
func (p *Program) restoreCommand(c *call) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Make an empty data directory from a backup", Args: cobra.ExactArgs(1),
		Long: "Makes an empty data directory from a backup. The restored server begins a new epoch, which tells\n" +
			"everybody who keeps a cursor to look again. Never run the old and the restored server together.",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := c.dataDir()
			if err != nil {
				return err
			}
			if err := emptyDir(dir); err != nil {
				return err
			}
			m, err := p.restore(cmd.Context(), args[0], dir)
			if err != nil {
				return errors.Join(err, clearDir(dir))
			}
			_, err = fmt.Fprintf(c.std.Err, "restored %s %s of %s to %s\n", m.Role, m.Address, m.Time.Format(time.RFC3339), dir)
			return err
		},
	}
}

// restore fills an empty directory with a backup that is whole.
func (p *Program) restore(ctx context.Context, file, dir string) (*manifest, error) {
	m, err := p.extract(ctx, file, dir, true)
	if err != nil {
		return nil, err
	}
	if err := p.examineRestored(ctx, dir, m); err != nil {
		return nil, err
	}
	return m, p.raiseEpoch(ctx, dir)
}

// clearDir takes out of a directory, which was empty before, what a restore that
// failed put there: half a server must not be served, nor stand in the way of a
// better backup.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// emptyDir makes dir, or finds it empty.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: restore does not overwrite", dir)
	}
	return nil
}

// extract reads an archive as it would anything from outside: names from a
// closed list, inside an os.Root, sizes bounded, every hash compared. Without
// keep, blobs are checked and not written.
func (p *Program) extract(ctx context.Context, file, dir string, keep bool) (m *manifest, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	x := &extractor{ctx: ctx, root: root, keep: keep, got: make(map[string]sum)}
	if err := x.all(tar.NewReader(f)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case x.manifest.Format != backupFormat:
		err = fmt.Errorf("%s: format %d is not known here", file, x.manifest.Format)
	case x.manifest.Role != p.Role.String():
		err = fmt.Errorf("%s: this is the backup of a %s; %s is a %s", file, x.manifest.Role, p.Name, p.Role)
	}
	return &x.manifest, err
}

// extractor reads an archive.
type extractor struct {
	ctx      context.Context
	root     *os.Root
	keep     bool
	manifest manifest
	sums     map[string]sum
	got      map[string]sum
}

// all reads every entry and compares the sums at the end.
func (x *extractor) all(r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err := errors.Join(x.ctx.Err(), x.entry(h, r)); err != nil {
			return err
		}
	}
	if x.sums == nil {
		return fmt.Errorf("%w: its end is missing", errDamaged)
	}
	for name, want := range x.sums {
		if x.got[name] != want {
			return fmt.Errorf("%w: %s is not what was written", errDamaged, name)
		}
	}
	for name := range x.got {
		if _, ok := x.sums[name]; !ok {
			return fmt.Errorf("%w: %s was added", errDamaged, name)
		}
	}
	return nil
}

// entry reads one file.
func (x *extractor) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeReg || !expected(h.Name) {
		return fmt.Errorf("%w: unexpected entry %q", errDamaged, h.Name)
	}
	if _, twice := x.got[h.Name]; twice || x.sums != nil {
		return fmt.Errorf("%w: entry %q twice or after the end", errDamaged, h.Name)
	}
	switch h.Name {
	case manifestFile, sumsFile:
		if h.Size > maxSmall {
			return fmt.Errorf("%w: %s of %d bytes", errDamaged, h.Name, h.Size)
		}
		b, err := io.ReadAll(io.LimitReader(r, maxSmall))
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		into := any(&x.manifest)
		if h.Name == sumsFile {
			into = &x.sums
		}
		if err := json.Unmarshal(b, into); err != nil {
			return fmt.Errorf("%w: %s: %w", errDamaged, h.Name, err)
		}
		if h.Name == sumsFile {
			if x.sums == nil {
				return fmt.Errorf("%w: %s is empty", errDamaged, h.Name)
			}
			return nil
		}
		return x.note(h.Name, strings.NewReader(string(b)), io.Discard)
	}
	if below(h.Name, blobDir) && !x.keep {
		return x.note(h.Name, r, io.Discard)
	}
	if err := x.root.MkdirAll(path.Dir(h.Name), 0o700); err != nil {
		return err
	}
	f, err := x.root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(x.note(h.Name, r, f), f.Sync(), f.Close())
}

// note copies an entry and keeps its sum.
func (x *extractor) note(name string, r io.Reader, w io.Writer) error {
	hash := crypto.NewBlobHasher()
	n, err := io.Copy(io.MultiWriter(w, hash), r)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %s is cut off", errDamaged, name)
		}
		return err
	}
	id, _ := hash.Sum()
	x.got[name] = sum{hex.EncodeToString(id[:]), n}
	return nil
}

// expected reports whether a name belongs into a backup.
func expected(name string) bool {
	switch name {
	case manifestFile, sumsFile, dataFile, ConfigFile, identityFile, certFile, keyFile:
		return true
	}
	return fs.ValidPath(name) && filepath.IsLocal(name) && !strings.Contains(name, "\\") && (below(name, blobDir) || below(name, acmeDir))
}

// below reports whether a slash path lies below dir.
func below(name, dir string) bool { return strings.HasPrefix(name, dir+"/") }

// examineRestored opens what came out of a backup, as serve would.
func (p *Program) examineRestored(ctx context.Context, dir string, m *manifest) error {
	k, err := p.keys(dir)
	if err != nil {
		return err
	}
	if k.Address().String() != m.Address {
		return fmt.Errorf("%w: the keys are of %s, not of %s", errDamaged, k.Address(), m.Address)
	}
	return p.withStore(ctx, dir, func(s *Site) error {
		if err := s.Data.Check(ctx); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil
	})
}

// raiseEpoch begins the next epoch of a restored store.
func (p *Program) raiseEpoch(ctx context.Context, dir string) error {
	return p.withStore(ctx, dir, func(s *Site) error { return s.storeLog().RaiseEpoch(ctx) })
}

// withStore opens the store of a directory alone.
func (p *Program) withStore(ctx context.Context, dir string, use func(*Site) error) error {
	s := &Site{Dir: dir, Verifier: crypto.Single{}}
	if err := p.openStore(ctx, s); err != nil {
		return err
	}
	return errors.Join(use(s), s.Close())
}
