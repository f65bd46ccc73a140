package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/blobfile"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// blobSize is how large the blobs are that go up and down.
const blobSize = 32 << 20

// mostBlobs bounds what one round puts on the disk.
const mostBlobs = 80

// openBlobs is where a mail server's blobs are.
func openBlobs(dir string) (store.Blobs, error) {
	path := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return blobfile.Open(root)
}

// blob is ciphertext: a number, and random bytes that all blobs share.
type blob struct {
	number [8]byte
	rest   []byte
	id     message.ID
}

func newBlob(number int, rest []byte) (blob, error) {
	b := blob{rest: rest}
	binary.BigEndian.PutUint64(b.number[:], uint64(number))
	id, _, err := crypto.BlobID(b.reader())
	b.id = id
	return b, err
}

func (b blob) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(b.number[:]), bytes.NewReader(b.rest))
}

// put uploads the blob in one go.
func (b blob) put(p *person) error {
	req, err := http.NewRequest(http.MethodPut, "/blobs/"+b.id.String(), b.reader())
	if err != nil {
		return err
	}
	req.ContentLength = blobSize
	req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", blobSize-1, blobSize))
	res, err := p.peer.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("upload: status %d", res.StatusCode)
	}
	return nil
}

func ciphertext() ([]byte, error) { return crypto.RandomBytes(rand.Reader, blobSize-8) }

// uploads puts a new blob a call; the server checks its name and syncs it.
func uploads() Case {
	return Case{Bytes: blobSize, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, 1, true)
		if err != nil {
			return nil, err
		}
		rest, err := ciphertext()
		if err != nil {
			m.close()
			return nil, err
		}
		var ready stock[blob]
		next := counter()
		return &Run{
			Close: m.close,
			Prepare: func(n int) error {
				return ready.add(min(n, mostBlobs), func(int) (blob, error) { return newBlob(next(), rest) })
			},
			Do: func(int) error {
				b, err := ready.take(1)
				if err != nil {
					return err
				}
				return b[0].put(m.people[0])
			},
		}, nil
	}}
}

// downloads gets a blob of a public message a call, as nobody.
func downloads() Case {
	return Case{Bytes: blobSize, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, 1, true)
		if err != nil {
			return nil, err
		}
		path, err := m.postBlob()
		if err != nil {
			m.close()
			return nil, err
		}
		strangers, err := m.host.strangers(1)
		if err != nil {
			m.close()
			return nil, err
		}
		return &Run{Close: func() { leave(strangers); m.close() }, Do: func(int) error {
			req, err := http.NewRequest(http.MethodGet, path, nil)
			if err != nil {
				return err
			}
			res, err := strangers[0].peer.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			n, err := io.Copy(io.Discard, res.Body)
			if err == nil && n != blobSize {
				err = errShort
			}
			return err
		}}, nil
	}}
}

// postBlob posts a message with a blob and returns where the blob is.
func (m *mailroom) postBlob() (string, error) {
	rest, err := ciphertext()
	if err != nil {
		return "", err
	}
	b, err := newBlob(0, rest)
	if err != nil {
		return "", err
	}
	if err := b.put(m.people[0]); err != nil {
		return "", err
	}
	sub, err := m.presses[0].print(0)
	if err != nil {
		return "", err
	}
	sub.Blobs = []*wirev1.BlobRef{{Hash: b.id[:], Size: blobSize}}
	res, err := m.people[0].peer.Mailbox().Submit(everyone(), &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{sub}})
	if err != nil {
		return "", err
	}
	if err := refused(res.GetResults()[0].GetRefusal()); err != nil {
		return "", err
	}
	claim, err := message.ParseHead(sub.GetHead())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/blobs/%s?from=%s&mid=%s", b.id, claim.From(), claim.MID()), nil
}

// files writes and syncs a file a call, and hashes it where named: what keeping
// a blob costs without a network.
func files(named bool) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		body, err := ciphertext()
		if err != nil {
			return nil, err
		}
		next := counter()
		return &Run{Do: func(int) error {
			n := next()
			if n >= 2*mostBlobs {
				return ErrEmpty
			}
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
			if err != nil {
				return err
			}
			defer f.Close()
			if named {
				h := crypto.NewBlobHasher()
				if _, err := h.Write(body); err != nil {
					return err
				}
				h.Sum()
			}
			if _, err := f.Write(body); err != nil {
				return err
			}
			return f.Sync()
		}}, nil
	}
}
