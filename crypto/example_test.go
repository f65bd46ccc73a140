package crypto_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"airdispatch/crypto"
)

func Example() {
	// The reader has a box; the writer has a device key.
	reader, err := crypto.NewBoxKey(crypto.BoxHybrid, rand.Reader)
	if err != nil {
		panic(err)
	}
	writer, err := crypto.NewSigningKey(rand.Reader)
	if err != nil {
		panic(err)
	}

	// One content key, sealed to each reader; the payload under a key derived from it and from what the message is.
	content, err := crypto.NewContentKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	ctx := crypto.Hash("ctx", []byte("from, to, version"))
	key, commit := content.Derive(ctx)
	payload, err := key.Seal(crypto.SuiteChaCha, crypto.Pad([]byte("Dear reader")))
	if err != nil {
		panic(err)
	}
	slot, err := reader.Public().Seal(rand.Reader, ctx[:], content.Bytes())
	if err != nil {
		panic(err)
	}
	signature := writer.Sign("head", commit[:])

	// The reader believes the signature, opens its slot, compares the commitment, and only then opens the payload.
	fmt.Println("signed:", crypto.NewVerifier().Verify(crypto.Check{
		Key: writer.Public(), Kind: "head", Body: commit[:], Signature: signature,
	}))
	secret, err := reader.Open(ctx[:], slot)
	if err != nil {
		panic(err)
	}
	again, err := crypto.ContentKeyFromBytes(secret)
	if err != nil {
		panic(err)
	}
	key, proof := again.Derive(ctx)
	fmt.Println("committed:", proof == commit)
	padded, err := key.Open(crypto.SuiteChaCha, payload)
	if err != nil {
		panic(err)
	}
	plain, err := crypto.Unpad(padded)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", plain)
	// Output:
	// signed: true
	// committed: true
	// Dear reader
}

func ExampleSecret() {
	passphrase := crypto.Secret("correct horse battery staple")
	fmt.Printf("%v %q %x\n", passphrase, passphrase, passphrase)
	// Output: [redacted] [redacted] [redacted]
}

func ExampleDecodeBech32m() {
	address, err := crypto.EncodeBech32m("ad", crypto.ToSymbols([]byte("twenty-five bytes of hash")))
	if err != nil {
		panic(err)
	}
	fmt.Println(address)
	_, err = crypto.DecodeBech32m(strings.Replace(address, "w", "v", 1), "ad")
	fmt.Println(err)
	// Output:
	// ad1w3mk2mn50ykkv6tkv5sxy7t5v4ejqmmxyp5xzumg4u5fsc
	// mistyped at position 4
}

func ExampleWords() {
	words, err := crypto.Words(bytes.Repeat([]byte{0x7f}, 32))
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Join(words[:4], " "), "…", words[23])
	_, err = crypto.ParseWords("legal winer thank year")
	fmt.Println(err)
	// Output:
	// legal winner thank year … title
	// "winer" is not on the list of words, at position 2
}

func ExamplePayloadKey_OpenReader() {
	content, err := crypto.NewContentKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	key, _ := content.Derive(crypto.Hash("example"))
	var blob bytes.Buffer
	if _, err := key.SealTo(&blob, strings.NewReader(strings.Repeat("attachment ", 10_000))); err != nil {
		panic(err)
	}
	id, size, err := crypto.BlobID(bytes.NewReader(blob.Bytes()))
	if err != nil {
		panic(err)
	}
	fmt.Println(len(id), size)

	half := io.LimitReader(&blob, crypto.ChunkSize+crypto.Overhead)
	n, err := io.Copy(io.Discard, key.OpenReader(half))
	fmt.Println(n, errors.Is(err, crypto.ErrTruncated))
	// Output:
	// 32 110032
	// 0 true
}
