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

// prover signs and checks; the zero value signs nothing.
type prover struct {
	self string
	sign func(Message) *extension
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
func (prover) check(o *object) {
	if o.ours == nil || len(o.ours.Signature) == 0 {
		return
	}
	o.From, o.Forged = verified(o), false
	o.Forged = o.From == ""
}

// verified is the address of the identity whose signature holds, or nothing.
func verified(o *object) string {
	e := o.ours
	if len(e.Chain) > maxChain || len(e.Signature) != 33+64 {
		return ""
	}
	var w wirev1.Identity
	if proto.Unmarshal(e.Chain, &w) != nil {
		return ""
	}
	var v crypto.Single
	chain, err := message.OpenChain(v, w.GetCards())
	if err != nil {
		return ""
	}
	key, err := crypto.ParseVerifyKey(e.Signature[:33])
	if err != nil || !chain.Head().Lists(key) {
		return ""
	}
	if !v.Verify(crypto.Check{Key: key, Kind: kindWhisper, Body: signedBytes(o.Message), Signature: e.Signature[33:]}) {
		return ""
	}
	return chain.Address().String()
}
