package bench

import (
	"bytes"
	"io"

	"filippo.io/age"
)

// ageSeals encrypts size bytes a call with age, to one recipient.
func ageSeals(size int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, err
		}
		plain := make([]byte, size)
		return &Run{Do: func(int) error {
			w, err := age.Encrypt(io.Discard, id.Recipient())
			if err != nil {
				return err
			}
			if _, err := io.Copy(w, bytes.NewReader(plain)); err != nil {
				return err
			}
			return w.Close()
		}}, nil
	}
}
