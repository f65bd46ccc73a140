package daemon

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/keyfile"
	"airdispatch/store/sqlite"
)

// The names in a data directory, beside ConfigFile and the certificate's.
const (
	identityFile = "identity.key"
	dataFile     = "data.db"
	blobDir      = "blobs"
)

// Site is an opened data directory: settings, keys, database.
type Site struct {
	Dir      string
	Config   Config
	Settings *Settings
	Keyring  *message.Keyring
	// DB is the database file, and Data the store in it.
	DB   *sql.DB
	Data *sqlite.DB
	// Tracker or Mail is set, as the program's role is.
	Tracker *store.Tracker
	Mail    *store.Mail
	// Known remembers identities in this store.
	Known    *store.Known
	Verifier crypto.Verifier
	Rand     io.Reader
	Log      *slog.Logger
	// Stderr takes words for the operator.
	Stderr io.Writer

	certificate *certificate
}

// BlobDir is where blobs lie.
func (s *Site) BlobDir() string { return filepath.Join(s.Dir, blobDir) }

// Client makes a client that asks as this server.
func (s *Site) Client() *rpc.Client {
	return rpc.NewClient(rpc.Config{
		Dial: rpc.Guard{Private: s.Settings.PrivateNetworks}.Dial, Verifier: s.Verifier, Keyring: s.Keyring,
	})
}

// Close closes what was opened.
func (s *Site) Close() error {
	if s.certificate != nil {
		s.certificate.close()
	}
	var err error
	if s.Data != nil {
		err = s.Data.Close()
	}
	if s.DB != nil {
		err = errors.Join(err, s.DB.Close())
	}
	return err
}

// storeLog is the log of either store.
func (s *Site) storeLog() store.Log {
	if s.Tracker != nil {
		return s.Tracker.Log
	}
	return s.Mail.Log
}

// keys reads the server's keyring, and refuses one of another role.
func (p *Program) keys(dir string) (*message.Keyring, error) {
	path := filepath.Join(dir, identityFile)
	k, err := keyfile.Read(path, nil)
	if err != nil {
		return nil, err
	}
	if role := k.Chain.Head().Role; role != p.Role {
		return nil, fmt.Errorf("%s holds the keys of a %s, not of a %s", path, role, p.Role)
	}
	return k, nil
}

// settings reads the settings of the data directory.
func (p *Program) settings(c *call) (Config, error) {
	dir, err := c.dataDir()
	if err != nil {
		return nil, err
	}
	config := p.NewConfig()
	return config, Load(config, dir, c.environ(), c.flags)
}

// open opens the data directory: settings, keys and store, not the
// certificate.
func (p *Program) open(ctx context.Context, c *call) (*Site, error) {
	config, err := p.settings(c)
	if err != nil {
		return nil, err
	}
	dir, err := c.dataDir()
	if err != nil {
		return nil, err
	}
	s := &Site{
		Dir: dir, Config: config, Settings: config.Shared(), Verifier: crypto.NewVerifier(), Rand: rand.Reader,
		Log: newLog(c.std.Err, config.Shared().Log), Stderr: c.std.Err,
	}
	if s.Keyring, err = p.keys(dir); err != nil {
		return nil, err
	}
	return s, p.openStore(ctx, s)
}

// openStore opens and migrates the store of the program's role; on an error it
// closes what it opened.
func (p *Program) openStore(ctx context.Context, s *Site) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	path := filepath.Join(s.Dir, dataFile)
	if s.DB, err = sqlite.File(path); err != nil {
		return err
	}
	if err = private(path); err != nil {
		return err
	}
	var identities store.Identities
	if p.Role == message.RoleTracker {
		if s.Tracker, s.Data, err = sqlite.OpenTracker(ctx, s.DB); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		identities = s.Tracker.Identities
	} else {
		blobs, err := p.Blobs(s.BlobDir())
		if err != nil {
			return err
		}
		if s.Mail, s.Data, err = sqlite.OpenMail(ctx, s.DB, blobs); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		identities = s.Mail.Identities
	}
	s.Known = store.NewKnown(identities, s.Verifier)
	return nil
}

// openServing opens the data directory with its certificate.
func (p *Program) openServing(ctx context.Context, c *call) (*Site, error) {
	s, err := p.open(ctx, c)
	if err != nil {
		return nil, err
	}
	if s.certificate, err = openCertificate(s.Dir, s.Settings, s.Log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
