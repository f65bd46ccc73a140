package whisper

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// kindWhisper is the kind of the signature under a message: no other statement
// can be taken for one (docs/protocol.md §2.1).
const kindWhisper = "whisper"

// maxChain bounds the cards that come with a message.
const maxChain = 64 << 10

// People is what the person here knows of others, out of memory: a node waits for it.
type People interface {
	// Name is what the person calls an address, "" where it is nobody of theirs.
	Name(a message.Address) string
	// Chain is the cards that are known of an address, nil for none.
	Chain(a message.Address) *message.Chain
}

// prover signs and checks; the zero value signs nothing and knows nobody.
type prover struct {
	self   string
	sign   func(Message) *extension
	people People
}

// newProver signs as an identity.
func newProver(k *message.Keyring) (prover, error) {
	chain, err := proto.Marshal(&wirev1.Identity{Cards: k.Chain.Signed(0)})
	if err != nil {
		return prover{}, err
	}
	key := k.Signer.Public()
	return prover{self: k.Address().String(), sign: func(m Message) *extension {
		return &extension{Chain: chain, Addr: "", Signature: append(key.Bytes(), k.Signer.Sign(kindWhisper, signedBytes(m))...)}
	}}, nil
}

// signedBytes are what a signature covers: every part with its length before it.
func signedBytes(m Message) []byte {
	var b []byte
	file := crypto.Sum(m.File)
	stamp := binary.BigEndian.AppendUint64(nil, uint64(m.Timestamp))
	for _, part := range [][]byte{[]byte(m.ID), []byte(m.Addr), []byte(m.Nick), []byte(m.Body), stamp, []byte(m.FileType), file[:]} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// check verifies the signature that came with a message, if one came. It shows
// that somebody who held a key of the identity said this; which keys were
// withdrawn since, nobody in a room without servers can tell.
// Where the person here knows the identity, the keys must be those that are known of it, or newer ones.
func (p prover) check(o *object) {
	if o.ours == nil || len(o.ours.Signature) == 0 {
		return
	}
	chain, key := verified(o)
	if o.Forged = chain == nil; o.Forged {
		return
	}
	o.From = chain.Address().String()
	if p.people == nil {
		return
	}
	if o.Changed = changed(p.people.Chain(chain.Address()), chain, key); !o.Changed {
		o.Name = p.people.Name(chain.Address())
	}
}

// changed reports whether a key is none of those that are known of an identity, and the cards that were
// shown do not follow those that are known.
func changed(known, shown *message.Chain, key crypto.VerifyKey) bool {
	if known == nil || known.Head().Lists(key) && !known.Head().Closed {
		return false
	}
	_, follows := shown.Card(known.Head().ID)
	return !follows || known.Head().Closed || !shown.Head().Lists(key)
}

// verified is the cards of the identity whose signature holds, and the key; nil for none.
func verified(o *object) (*message.Chain, crypto.VerifyKey) {
	e := o.ours
	if len(e.Chain) > maxChain || len(e.Signature) != 33+64 {
		return nil, crypto.VerifyKey{}
	}
	var w wirev1.Identity
	if proto.Unmarshal(e.Chain, &w) != nil {
		return nil, crypto.VerifyKey{}
	}
	var v crypto.Single
	chain, err := message.OpenChain(v, w.GetCards())
	if err != nil {
		return nil, crypto.VerifyKey{}
	}
	key, err := crypto.ParseVerifyKey(e.Signature[:33])
	if err != nil || !chain.Head().Lists(key) || chain.Head().Closed {
		return nil, crypto.VerifyKey{}
	}
	if !v.Verify(crypto.Check{Key: key, Kind: kindWhisper, Body: signedBytes(o.Message), Signature: e.Signature[33:]}) {
		return nil, crypto.VerifyKey{}
	}
	return chain, key
}
