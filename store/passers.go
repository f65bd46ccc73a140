package store

import (
	"context"
	"time"

	"airdispatch/message"
)

// Passer is a name under which a MessagePasser program acts for an address.
type Passer struct {
	Name    string
	Address message.Address
	// Secret is the hash of the secret, so that a stolen database logs nobody in.
	Secret [32]byte
	Added  time.Time
}

// Passers keeps the names of MessagePasser programs. They end with the account that they
// act for.
type Passers interface {
	// AddPasser adds a name. Errors: message.NotFound where the address has no
	// account, message.NameTaken where the name is there.
	AddPasser(ctx context.Context, p Passer) error
	// Passer is one name. Errors: message.NotFound.
	Passer(ctx context.Context, name string) (Passer, error)
	// Passers is all names after one, ordered by their bytes.
	Passers(ctx context.Context, after string, limit int) ([]Passer, error)
	// RemovePasser removes a name. Errors: message.NotFound.
	RemovePasser(ctx context.Context, name string) error
}
