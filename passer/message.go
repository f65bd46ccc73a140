package passer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"airdispatch/crypto"
	"airdispatch/message"
)

// Meta says what a Message is.
type Meta uint8

// The kinds of messages, with the numbers of the original.
const (
	// MetaNone: bytes of a connection.
	MetaNone Meta = iota
	// MetaWAT: what a client says to a message that it does not know. It ends old
	// clients that hear it, so it goes no further than the server.
	MetaWAT
	// MetaNoSuchConnection: there is no such connection, or nobody of that name.
	MetaNoSuchConnection
	// MetaUnknownProto: the callee does not take the protocol that was asked for.
	MetaUnknownProto
	// MetaClientClosed: a client has left; all connections with it are over.
	MetaClientClosed
	// MetaConnSyn asks for a connection; the protocol is in Data.
	MetaConnSyn
	// MetaConnAck: the callee has taken the connection.
	MetaConnAck
	// MetaConnClosed: one end has closed the connection.
	MetaConnClosed
	// MetaAuth: the first message of a client, with its name and, in Data, its secret.
	MetaAuth
	// MetaAuthOk: the client is logged in.
	MetaAuthOk
	// MetaAuthFailure: the client is not logged in, for the reason in Data.
	MetaAuthFailure
)

// Message is a frame, in the form of the original. OtherClient is whom it is for on the
// way to the server, and who it is from on the way back.
type Message struct {
	Meta         Meta
	OtherClient  string
	ConnectionID string
	Data         []byte
}

const (
	// MaxData is the most that Data of a frame may hold.
	MaxData = 1 << 20
	// maxGreeting is the most that the first frame may have, which is from nobody yet.
	maxGreeting = 4 << 10
	// maxName bounds names, and what may stand in OtherClient.
	maxName = 64
	// maxID bounds the id of a connection.
	maxID = 128
	// maxProtocol bounds the name of a protocol.
	maxProtocol = 256
	// maxWords is what a frame may have beside its Data, in either framing: a JSON
	// string may spell each byte in six.
	maxWords = 6*(maxName+maxID) + 512
)

// Faults of what was sent. Each costs its sender the connection to the server.
var (
	errMalformed = errors.New("passer: read: malformed frame")
	errTooLarge  = fmt.Errorf("passer: read: frame: %w", message.TooLarge)
)

// check looks at what both framings leave open: the lengths of the parts, and that
// the words are text, which a client of the other framing can be told.
func (m *Message) check() error {
	switch {
	case len(m.OtherClient) > maxName || len(m.ConnectionID) > maxID || len(m.Data) > MaxData:
		return errTooLarge
	case !printable(m.OtherClient) || !printable(m.ConnectionID):
		return errMalformed
	}
	return nil
}

// printable reports whether s is text without anything that is not shown.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// cost is what a message is counted as in queues and by the pace.
func (m *Message) cost() int { return len(m.Data) + len(m.OtherClient) + len(m.ConnectionID) + 64 }

// CheckName refuses what cannot be the name of an account: empty, longer than 64 bytes,
// with ':' (which ends the name in the id of a connection), with spaces or what is not
// shown, or an address, which stands for an account by itself. Errors: message.Invalid.
func CheckName(name string) error {
	reason := ""
	_, err := message.ParseAddress(name)
	switch {
	case name == "":
		reason = "is empty"
	case len(name) > maxName:
		reason = fmt.Sprintf("has more than %d bytes", maxName)
	case strings.Contains(name, ":"):
		reason = "has a colon"
	case !printable(name) || strings.ContainsFunc(name, unicode.IsSpace):
		reason = "has spaces or what is not shown"
	case err == nil:
		reason = "is an address"
	default:
		return nil
	}
	return fmt.Errorf("passer: name %s: %w", reason, message.Invalid)
}

// Secret is what a client logs in with. It prints as redacted.
type Secret = crypto.Secret

// secretBytes is the randomness of a secret: nobody guesses it, so its plain hash may be kept.
const secretBytes = 20

// NewSecret makes a secret, a word that begins with mp1.
func NewSecret(rand io.Reader) (Secret, error) {
	b, err := crypto.RandomBytes(rand, secretBytes)
	if err != nil {
		return nil, fmt.Errorf("passer: new secret: %w", err)
	}
	text, err := crypto.EncodeBech32m("mp", crypto.ToSymbols(b))
	if err != nil {
		return nil, fmt.Errorf("passer: new secret: %w", err)
	}
	return Secret(text), nil
}

// HashSecret is what is kept of a secret. It is good for secrets of NewSecret only: a
// word that somebody thought of could be guessed from it.
func HashSecret(s Secret) [32]byte { return crypto.Hash("passer secret", s) }
