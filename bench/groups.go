package bench

import (
	"runtime"

	"airdispatch/crypto"
)

// clients is how many ask at once, where it is not said otherwise.
const clients = 64

// Groups are all that is measured, in the order of docs/performance.md.
func Groups() []Group {
	return []Group{
		signatures(), commitsGroup(), aeads(), exchanges(),
	}
}

func both() int { return runtime.GOMAXPROCS(0) }

func signatures() Group {
	return Group{
		Name: "signature", Title: "Signature check, 1 KiB",
		Cases: []Case{
			{Name: "crypto/ed25519, one core", Open: stdChecks},
			{Name: "crypto/ed25519, all cores", Workers: both(), Open: stdChecks},
			{Name: "Single, one core", Open: checks(func() crypto.Verifier { return crypto.Single{} }, 1)},
			{Name: "Single, all cores", Workers: both(), Open: checks(func() crypto.Verifier { return crypto.Single{} }, 1)},
			{Name: "Batch, 64 callers", Workers: clients, Open: checks(func() crypto.Verifier { return crypto.NewVerifier() }, 1)},
			{Name: "Batch, 64 callers with 16 each", Workers: clients, Each: 16, Open: checks(func() crypto.Verifier { return crypto.NewVerifier() }, 16)},
			{Name: "signing 128 bytes, all cores", Workers: both(), Open: signs},
		},
		Ratios: []Ratio{
			{Of: "Single, all cores", To: "crypto/ed25519, all cores"},
			{Of: "Batch, 64 callers", To: "crypto/ed25519, all cores"},
			{Of: "Batch, 64 callers with 16 each", To: "crypto/ed25519, all cores"},
		},
	}
}

func commitsGroup() Group {
	return Group{
		Name: "commit", Title: "Group commit, rows of 1 KiB",
		Cases: []Case{
			{Name: "bare log, 1 writer waiting", Open: commits(1, bareLog)},
			{Name: "bare log, 64 writers waiting", Workers: clients, Open: commits(1, bareLog)},
			{Name: "SQLite FULL, 1 writer waiting", Open: commits(1, bareTable)},
			{Name: "SQLite FULL, 64 writers waiting", Workers: clients, Open: commits(1, bareTable)},
			{Name: "SQLite FULL, 64 writers with 16 each", Workers: clients, Each: 16, Open: commits(16, bareTable)},
			{Name: "NATS, 64 clients waiting", Workers: clients, Open: natsWaiting(clients, row)},
		},
		Ratios: []Ratio{{Of: "SQLite FULL, 64 writers waiting", To: "NATS, 64 clients waiting"}},
	}
}

func aeads() Group {
	return Group{
		Name: "aead", Title: "Encryption in chunks of 64 KiB",
		Cases: []Case{
			{Name: "ChaCha20-Poly1305, one core", Bytes: crypto.ChunkSize, Open: ciphers(chacha)},
			{Name: "ChaCha20-Poly1305, all cores", Workers: both(), Bytes: crypto.ChunkSize, Open: ciphers(chacha)},
			{Name: "AES-256-GCM, one core", Bytes: crypto.ChunkSize, Open: ciphers(aesGCM)},
			{Name: "AES-256-GCM, all cores", Workers: both(), Bytes: crypto.ChunkSize, Open: ciphers(aesGCM)},
			{Name: "age, 64 MiB", Bytes: 64 << 20, Open: ageSeals(64 << 20)},
			{Name: "sealing an attachment, 64 MiB", Bytes: 64 << 20, Open: seals(64<<20, false)},
			{Name: "sealing and naming one, 64 MiB", Bytes: 64 << 20, Open: seals(64<<20, true)},
		},
	}
}

func exchanges() Group {
	return Group{
		Name: "exchange", Title: "Bare net/http",
		Cases: []Case{
			{Name: "signed exchange, TLS, HTTP/1.1", Workers: clients, Open: exchange(overTLS, clients, 1)},
			{Name: "signed exchange, TLS, HTTP/2", Workers: clients, Open: exchange(overTLS2, clients, 1)},
			{Name: "signed exchange of 16, TLS, HTTP/2", Workers: clients, Each: 16, Open: exchange(overTLS2, clients, 16)},
			{Name: "GET 256 B, plain", Workers: clients, Open: gets(plain, clients, 256)},
			{Name: "GET 256 B, TLS, HTTP/1.1", Workers: clients, Open: gets(overTLS, clients, 256)},
			{Name: "GET 256 B, TLS, HTTP/2", Workers: clients, Open: gets(overTLS2, clients, 256)},
		},
	}
}
