// Package crypto holds keys and the things keys do: sign and verify under a label, seal and open, hash, lock a file under
// a passphrase, and turn bytes into text that people can type.
//
// What is signed is always the text "airdispatch/1 ", a kind, a line feed and the body. The kind never travels:
// whoever verifies passes the kind it expects, so that a signature made for one purpose is worth nothing for another. A
// signing key signs nothing else. Signatures are Ed25519 and are checked by the rule of ZIP-215, one at a time or many at
// once, with the same verdict: two servers must never disagree about one signature.
//
// A content key is sealed to each reader in a box; from it and the context of the message come a payload key and a
// commitment, so that one slot cannot open to two texts. Payloads and blobs are one format: ChaCha20-Poly1305 in chunks of
// 64 KiB whose nonce counts the chunks and marks the last one, so that chunks cannot be dropped, swapped or cut off.
//
// Box kinds and payload suites are registries: a new one is one file and one line. Kinds that this version does not know
// are reported as ErrUnknownKind and may be kept unread.
//
// Nothing here reads a clock, opens a connection or keeps state beyond one cache of public keys. Randomness comes in as an
// io.Reader; where the standard library insists on its own (hybrid boxes, certificate signatures, age files, the weights of a
// batch) the doc comment says so. Every secret has a type that prints as "[redacted]".
package crypto
