package message

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// The closed list of statement kinds. A kind is never read from the wire: the
// verifier passes the one that it expects, so a signature made for one purpose
// is worth nothing for another (docs/protocol.md §2.1).
const (
	kindCard    = "card"
	kindRoute   = "route"
	kindTicket  = "ticket"
	kindName    = "name"
	kindHead    = "head"
	kindAccess  = "access"
	kindReceipt = "receipt"
	kindAnswer  = "answer"
)

// signatureSize is the length of an Ed25519 signature.
const signatureSize = 64

// sign makes a statement. The bytes made here are the statement from now on;
// nobody serialises it again.
func sign(kind string, m proto.Message, key crypto.SigningKey) (*wirev1.Signed, error) {
	if key.IsZero() {
		return nil, refuse(Internal, "sign %s: no key", kind)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, refuse(Internal, "sign %s: %v", kind, err)
	}
	return &wirev1.Signed{Body: body, Key: key.Public().Bytes(), Signature: key.Sign(kind, body)}, nil
}

// parsed is a statement whose shape was read and whose signature was not
// checked yet. It never leaves this room.
type parsed struct {
	id    ID
	key   crypto.VerifyKey
	check crypto.Check
}

// parse bounds, reads and shapes a statement without believing it, in the order
// of docs/protocol.md §2.3. A key among known was read before.
func parse(kind string, s *wirev1.Signed, limit int, into proto.Message, known ...crypto.VerifyKey) (parsed, error) {
	return parseWith(kind, s, limit, into, func(b []byte) (crypto.VerifyKey, error) { return crypto.ParseVerifyKey(b, known...) })
}

// parseWith is parse with another way to read the key.
func parseWith(kind string, s *wirev1.Signed, limit int, into proto.Message, readKey func([]byte) (crypto.VerifyKey, error)) (parsed, error) {
	if s == nil || len(s.GetBody()) == 0 {
		return parsed{}, refuse(Invalid, "%s: missing", kind)
	}
	if len(s.GetBody()) > limit {
		return parsed{}, refuse(TooLarge, "%s: %d bytes, at most %d", kind, len(s.GetBody()), limit)
	}
	if len(s.GetSignature()) != signatureSize {
		return parsed{}, refuse(Invalid, "%s: signature of %d bytes", kind, len(s.GetSignature()))
	}
	key, err := readKey(s.GetKey())
	if err != nil {
		return parsed{}, refuseKey(kind, err)
	}
	if err := proto.Unmarshal(s.GetBody(), into); err != nil {
		return parsed{}, refuse(Invalid, "%s: not the expected message", kind)
	}
	return parsed{
		id:    ID(crypto.ID(kind, s.GetBody())),
		key:   key,
		check: crypto.Check{Key: key, Kind: kind, Body: s.GetBody(), Signature: s.GetSignature()},
	}, nil
}

// fields counts the fields at the top level of serialised bytes, and stops
// beyond limit. It costs no memory, so a reader counts before it parses.
func fields(b []byte, limit int) int {
	n := 0
	for len(b) > 0 && n <= limit {
		_, _, size := protowire.ConsumeField(b)
		if size < 0 {
			return n
		}
		n, b = n+1, b[size:]
	}
	return n
}

// parseKey reads a verification key. Keys in known were read before.
func parseKey(what string, b []byte, known ...crypto.VerifyKey) (crypto.VerifyKey, error) {
	key, err := crypto.ParseVerifyKey(b, known...)
	if err != nil {
		return key, refuseKey(what, err)
	}
	return key, nil
}

// refuseKey says why a key was not read. An algorithm that is not known here is
// Unsupported: the statement may be good, and a newer program can tell.
func refuseKey(what string, err error) error {
	if errors.Is(err, crypto.ErrUnknownKind) {
		return refuse(Unsupported, "%s: %v", what, err)
	}
	return refuse(Invalid, "%s: %v", what, err)
}

// verifyAll checks the signatures of statements in one batch.
func verifyAll(v crypto.Verifier, checks []crypto.Check) error {
	if len(checks) == 0 {
		return nil
	}
	if bad := slices.Index(v.VerifyAll(checks), false); bad >= 0 {
		return refuse(BadSignature, "%s", checks[bad].Kind)
	}
	return nil
}

// verify checks the signature of a parsed statement.
func (p parsed) verify(v crypto.Verifier) error {
	if !v.Verify(p.check) {
		return refuse(BadSignature, "%s", p.check.Kind)
	}
	return nil
}
