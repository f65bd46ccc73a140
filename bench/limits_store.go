package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/crypto/chacha20poly1305"

	"airdispatch/crypto"
)

// row is how large the messages of all cases are, in bytes.
const row = 1024

// most is how many waiting writers one group commit takes at most.
const most = 1024

// stdChecks verifies with the standard library, one signature a call.
func stdChecks(string) (*Run, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	body := make([]byte, row)
	signature := ed25519.Sign(private, body)
	return &Run{Do: func(int) error {
		if !ed25519.Verify(public, body, signature) {
			return errors.New("a good signature is refused")
		}
		return nil
	}}, nil
}

// checks verifies n signatures a call through one verifier.
func checks(verifier func() crypto.Verifier, n int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		key, err := crypto.NewSigningKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		body := make([]byte, row)
		one := crypto.Check{Kind: "head", Key: key.Public(), Body: body, Signature: key.Sign("head", body)}
		all := make([]crypto.Check, n)
		for i := range all {
			all[i] = one
		}
		v := verifier()
		return &Run{Do: func(int) error {
			for _, good := range v.VerifyAll(all) {
				if !good {
					return errors.New("a good signature is refused")
				}
			}
			return nil
		}}, nil
	}
}

// signs makes one signature a call.
func signs(string) (*Run, error) {
	key, err := crypto.NewSigningKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 128)
	return &Run{Do: func(int) error {
		key.Sign("receipt", body)
		return nil
	}}, nil
}

// ciphers seals 64 KiB a call.
func ciphers(open func() (cipher.AEAD, error)) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		a, err := open()
		if err != nil {
			return nil, err
		}
		plain, nonce := make([]byte, crypto.ChunkSize), make([]byte, a.NonceSize())
		return &Run{Do: func(int) error {
			a.Seal(make([]byte, 0, len(plain)+a.Overhead()), nonce, plain, nil)
			return nil
		}}, nil
	}
}

func chacha() (cipher.AEAD, error) {
	return chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
}

func aesGCM() (cipher.AEAD, error) {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// commits is a group commit without anything around it: one writer, and what
// comes while it syncs goes into its next turn.
func commits(each int, open func(dir string) (write func(rows int) error, end func() error, err error)) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		write, end, err := open(dir)
		if err != nil {
			return nil, err
		}
		queue, done := make(chan chan error, most), make(chan struct{})
		go func() {
			defer close(done)
			for first := range queue {
				waiting := gather(first, queue)
				err := write(len(waiting) * each)
				for _, w := range waiting {
					w <- err
				}
			}
		}()
		return &Run{
			Do: func(int) error {
				reply := make(chan error, 1)
				queue <- reply
				return <-reply
			},
			Close: func() {
				close(queue)
				<-done
				_ = end()
			},
		}, nil
	}
}

// gather takes everybody who waits already.
func gather(first chan error, queue <-chan chan error) []chan error {
	waiting := []chan error{first}
	for len(waiting) < most {
		select {
		case next, ok := <-queue:
			if !ok {
				return waiting
			}
			waiting = append(waiting, next)
		default:
			return waiting
		}
	}
	return waiting
}

// bareLog appends rows to a file and calls fdatasync.
func bareLog(dir string) (func(int) error, func() error, error) {
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, nil, err
	}
	buffer := make([]byte, row*most*16)
	return func(rows int) error {
		for rows > 0 {
			n := min(rows, len(buffer)/row)
			if _, err := f.Write(buffer[:n*row]); err != nil {
				return err
			}
			rows -= n
		}
		return syscall.Fdatasync(int(f.Fd()))
	}, f.Close, nil
}

// bareTable inserts rows under a rising key into SQLite, as our store is set up
// and with nothing else in it.
func bareTable(dir string) (func(int) error, func() error, error) {
	db, err := sql.Open("sqlite3", dataSource(filepath.Join(dir, "limit.sqlite")))
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE entries (k INTEGER PRIMARY KEY, body BLOB NOT NULL); PRAGMA wal_autocheckpoint = 4000"); err != nil {
		return nil, nil, err
	}
	insert, err := db.Prepare("INSERT INTO entries (body) VALUES (?1)")
	if err != nil {
		return nil, nil, err
	}
	body := make([]byte, row)
	return func(rows int) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		in := tx.Stmt(insert)
		for range rows {
			if _, err := in.Exec(body); err != nil {
				return err
			}
		}
		return tx.Commit()
	}, db.Close, nil
}

// dataSource is a SQLite file as our stores open theirs.
func dataSource(path string) string {
	return fmt.Sprintf("file:%s?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_busy_timeout=5000&_foreign_keys=on", path)
}

// tablePages reads pages of rows of a size out of SQLite by an address and a
// cursor, as the pages of our store are read, and does nothing with them.
func tablePages(page, size int) func(string) (*Run, error) {
	const authors, kept = 64, 100
	return func(dir string) (*Run, error) {
		db, err := sql.Open("sqlite3", dataSource(filepath.Join(dir, "limit.sqlite")))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(both() + 1)
		db.SetMaxIdleConns(both() + 1)
		read, err := fillPages(db, authors, kept, make([]byte, size))
		if err != nil {
			_ = db.Close()
			return nil, err
		}
		next := counter()
		return &Run{Close: func() { _ = db.Close() }, Do: func(w int) error {
			rows, err := read.Query(w%authors, next()%2*page, page)
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				var seq int64
				var body []byte
				if err := rows.Scan(&seq, &body); err != nil {
					return err
				}
			}
			if n != page {
				return errShort
			}
			return rows.Err()
		}}, nil
	}
}

// fillPages makes the table and the query that reads a page of it.
func fillPages(db *sql.DB, authors, kept int, body []byte) (*sql.Stmt, error) {
	if _, err := db.Exec("CREATE TABLE entries (author INTEGER, seq INTEGER, body BLOB NOT NULL, PRIMARY KEY (author, seq)) WITHOUT ROWID"); err != nil {
		return nil, err
	}
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	for a := range authors {
		for n := range kept {
			if _, err := tx.Exec("INSERT INTO entries VALUES (?1, ?2, ?3)", a, n+1, body); err != nil {
				return nil, err
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return db.Prepare("SELECT seq, body FROM entries WHERE author = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
}
