// Package message is what is said in Airdispatch: addresses, cards, routes,
// answers, heads, contents and receipts, as verified values.
//
// # Statements
//
// Everything that must be believed is a statement: serialised bytes, a key and
// a signature, in one frame (wirev1.Signed). The functions named Sign… and Seal
// make statements; those named Open… verify them and return values; a value
// with exported fields exists only after its signature was checked. Claims
// (HeadClaim, AccessClaim) are what was read and not yet believed; they tell
// whose chain to fetch and no more. Signed bytes are kept and forwarded as
// received: the field Signed of each value holds them.
//
// # Identity
//
// An identity is a Chain of cards. Its Address is the fingerprint of the first
// one, so whoever holds the address can check all the others. Compare decides
// between two branches, Pair orders routes, and nothing lower than what was
// seen is ever taken again.
//
// # Messages
//
// A message is a register with one writer: versions 1, 2, 3 under one MID, each
// naming the id of the one before. Seal makes a version, Head.CheckNext says
// whether it may follow, Open decrypts it to a Letter. A private message
// without encryption cannot be expressed.
//
// # Rules of the room
//
// The room is pure: no input or output, no clock (callers pass now), no
// randomness of its own (callers pass rand). Every reader has its limit beside
// it in limits.go. Errors wrap a Code from a closed list. Values are never
// changed after they were made and may be shared between goroutines, but for
// Content, which is built up by its author.
package message
