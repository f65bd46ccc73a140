package bench

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"

	"airdispatch/crypto"
	"airdispatch/message"
)

// seals seals size bytes a call as an attachment, and names the blob too where
// an upload would need it.
func seals(size int, named bool) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		plain := make([]byte, size)
		return &Run{Do: func(int) error {
			a, err := message.NewAttachment("a.bin", "application/octet-stream", rand.Reader)
			if err != nil {
				return err
			}
			key, err := a.PayloadKey()
			if err != nil {
				return err
			}
			out := io.Discard
			var hasher *crypto.BlobHasher
			if named {
				hasher = crypto.NewBlobHasher()
				out = hasher
			}
			n, err := key.SealTo(out, bytes.NewReader(plain))
			if err == nil && n != crypto.SealedSize(int64(size)) {
				err = errors.New("another length than it should have")
			}
			if hasher != nil {
				hasher.Sum()
			}
			return err
		}}, nil
	}
}
