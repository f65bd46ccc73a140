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
		submitGroup(), pipelinedGroup(), alertGroup(), inboxGroup(), pullGroup(), postsGroup(),
		publishGroup(), lookupGroup(), watchGroup(), blobGroup(), startGroup(), liveGroup(),
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
		Ratios: []Ratio{{Of: "sealing an attachment, 64 MiB", To: "age, 64 MiB", Goal: 1.5}},
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

// named gives a case its name.
func named(name string, c Case) Case {
	c.Name = name
	return c
}

func submitGroup() Group {
	return Group{
		Name: "submit", Title: "Submit, one waiting request of each of 64 clients",
		Cases: []Case{
			named("submit, private", submits(clients, clients, 1, false)),
			named("submit, public", submits(clients, clients, 1, true)),
			named("submit stream, private", streams(clients, clients)),
			{Name: "NATS, sync always", Workers: clients, Open: natsWaiting(clients, row)},
			{Name: "khatru, LMDB", Workers: clients, Open: khatruPublish(clients)},
			{Name: "signed exchange, nothing kept", Workers: clients, Open: exchange(overTLS2, clients, 1)},
			{Name: "SQLite FULL, rows alone", Workers: clients, Open: commits(1, bareTable)},
		},
		Ratios: []Ratio{
			{Of: "submit, private", To: "NATS, sync always", Goal: 1},
			{Of: "submit, public", To: "NATS, sync always", Goal: 1},
			{Of: "submit stream, private", To: "NATS, sync always", Goal: 1.5},
			{Of: "submit, private", To: "khatru, LMDB"},
			{Of: "submit, private", To: "signed exchange, nothing kept"},
		},
	}
}

func pipelinedGroup() Group {
	return Group{
		Name: "pipelined", Title: "Submit, 2,048 messages in flight",
		Cases: []Case{
			named("submit, 16 a call, 8 clients with 16 calls", submits(8, 128, 16, false)),
			named("submit stream, 8 clients with 256", streams(8, 2048)),
			{Name: "NATS async, 8 clients with 256", Workers: 2048, Open: natsAsync(8, row)},
			{Name: "signed exchange of 16, nothing kept", Workers: 128, Each: 16, Open: exchange(overTLS2, 128, 16)},
			{Name: "SQLite FULL, rows alone", Workers: 128, Each: 16, Open: commits(16, bareTable)},
		},
		Ratios: []Ratio{
			{Of: "submit, 16 a call, 8 clients with 16 calls", To: "NATS async, 8 clients with 256", Goal: 3},
			{Of: "submit stream, 8 clients with 256", To: "NATS async, 8 clients with 256", Goal: 3},
			{Of: "submit, 16 a call, 8 clients with 16 calls", To: "signed exchange of 16, nothing kept"},
			{Of: "submit stream, 8 clients with 256", To: "signed exchange of 16, nothing kept"},
		},
	}
}

func alertGroup() Group {
	return Group{
		Name: "alert", Title: "Alert intake",
		Cases: []Case{
			named("alert, 64 calls of 1", alerts(clients, 1)),
			named("alert, 16 a call, 16 calls", alerts(16, 16)),
			named("alert, 256 a call, 2 calls", alerts(2, 256)),
			named("submit, private, 64 calls of 1", submits(clients, clients, 1, false)),
			named("submit, private, 16 a call, 16 calls", submits(16, 16, 16, false)),
			{Name: "NATS, sync always", Workers: clients, Open: natsWaiting(clients, row)},
		},
		Ratios: []Ratio{
			{Of: "alert, 64 calls of 1", To: "submit, private, 64 calls of 1", Goal: 1},
			{Of: "alert, 16 a call, 16 calls", To: "submit, private, 16 a call, 16 calls", Goal: 1},
			{Of: "alert, 64 calls of 1", To: "NATS, sync always", Goal: 1},
		},
	}
}

func inboxGroup() Group {
	return Group{
		Name: "inbox", Title: "Inbox, pages of 50, 64 clients",
		Cases: []Case{
			{Name: "SQLite pages of 2 KiB rows alone", Workers: clients, Each: 50, Open: tablePages(50, 2*row)},
			named("inbox page", inboxPages()),
			{Name: "NATS pull by subject", Workers: clients, Each: 50, Open: natsPull(clients, 50, row)},
			{Name: "khatru query", Workers: clients, Each: 50, Open: khatruPages(clients, 50)},
		},
		Ratios: []Ratio{
			{Of: "inbox page", To: "NATS pull by subject", Goal: 2},
			{Of: "inbox page", To: "khatru query", Goal: 5},
			{Of: "inbox page", To: "SQLite pages of 2 KiB rows alone"},
			{Of: "SQLite pages of 2 KiB rows alone", To: "NATS pull by subject"},
		},
	}
}

func pullGroup() Group {
	return Group{
		Name: "pull", Title: "Pull, 50 messages a call, 64 clients",
		Cases: []Case{
			{Name: "SQLite pages of 4 KiB rows alone", Workers: clients, Each: 50, Open: tablePages(50, 4*row)},
			named("pull again", pulls(false)),
			named("pull for the first time", pulls(true)),
			{Name: "NATS pull by subject", Workers: clients, Each: 50, Open: natsPull(clients, 50, row)},
			{Name: "khatru query", Workers: clients, Each: 50, Open: khatruPages(clients, 50)},
		},
		Ratios: []Ratio{
			{Of: "pull again", To: "NATS pull by subject", Goal: 2},
			{Of: "pull again", To: "khatru query", Goal: 5},
			{Of: "pull again", To: "SQLite pages of 4 KiB rows alone"},
			{Of: "SQLite pages of 4 KiB rows alone", To: "NATS pull by subject"},
			{Of: "pull for the first time", To: "NATS pull by subject", Note: "commits a mark first"},
		},
	}
}

func postsGroup() Group {
	return Group{
		Name: "posts", Title: "Posts of one author, pages of 50, 64 clients",
		Cases: []Case{
			{Name: "SQLite pages of 2 KiB rows alone", Workers: clients, Each: 50, Open: tablePages(50, 2*row)},
			named("posts page", postPages()),
			{Name: "NATS pull by subject", Workers: clients, Each: 50, Open: natsPull(clients, 50, row)},
			{Name: "khatru query", Workers: clients, Each: 50, Open: khatruPages(clients, 50)},
		},
		Ratios: []Ratio{
			{Of: "posts page", To: "NATS pull by subject", Goal: 2},
			{Of: "posts page", To: "khatru query", Goal: 5},
			{Of: "posts page", To: "SQLite pages of 2 KiB rows alone"},
			{Of: "SQLite pages of 2 KiB rows alone", To: "NATS pull by subject"},
		},
	}
}

func publishGroup() Group {
	return Group{
		Name: "publish", Title: "Publish: a new identity with its route",
		Cases: []Case{
			named("publish, 64 clients waiting", publishes(clients, 1)),
			named("publish, 64 a call, 8 calls", publishes(8, 64)),
			{Name: "NATS, sync always", Workers: clients, Open: natsWaiting(clients, 4*row)},
		},
		Ratios: []Ratio{
			{Of: "publish, 64 clients waiting", To: "NATS, sync always", Goal: 1, Note: "4 KiB, as a publication is"},
			{Of: "publish, 64 a call, 8 calls", To: "NATS, sync always", Goal: 3, Note: "4 KiB, as a publication is"},
		},
	}
}

func lookupGroup() Group {
	return Group{
		Name: "lookup", Title: "Look-up of 1,024 addresses, 64 clients",
		Cases: []Case{
			named("look-up", lookups(clients, 1, false)),
			named("look-up, verified by the asker", lookups(clients, 1, true)),
			named("look-up, 128 a call", lookups(clients, 128, false)),
			{Name: "GET 4 KiB, TLS, HTTP/2", Workers: clients, Open: gets(overTLS2, clients, 4*row)},
			{Name: "POST 64 B for 4 KiB, TLS, HTTP/2", Workers: clients, Open: asks(overTLS2, clients, 4*row)},
			{Name: "GET 4 KiB, TLS, HTTP/1.1", Workers: clients, Open: gets(overTLS, clients, 4*row)},
			{Name: "GET 256 B, plain", Workers: clients, Open: gets(plain, clients, 256)},
			{Name: "DNS TXT over UDP", Workers: clients, Open: dnsQueries(clients)},
		},
		Ratios: []Ratio{
			{Of: "look-up", To: "GET 4 KiB, TLS, HTTP/2", Goal: 0.9},
			{Of: "look-up", To: "POST 64 B for 4 KiB, TLS, HTTP/2"},
			{Of: "look-up", To: "GET 256 B, plain"},
			{Of: "look-up, 128 a call", To: "DNS TXT over UDP", Goal: 10, Note: "per address"},
		},
	}
}

func watchGroup() Group {
	const watchers = 1000
	return Group{
		Name: "watch", Title: "Waking 1,000 watchers, each on a connection of its own",
		Cases: []Case{
			named("an alert to each", watchAlerts(watchers)),
			named("a post to all", watchPosts(watchers)),
			{Name: "NATS core, a message to all", Each: watchers, Open: natsFanOut(watchers)},
		},
		Ratios: []Ratio{{Of: "a post to all", To: "NATS core, a message to all", Note: "NATS keeps nothing here"}},
	}
}

func blobGroup() Group {
	return Group{
		Name: "blob", Title: "Blobs of 32 MiB, one at a time",
		Cases: []Case{
			named("upload", uploads()),
			{Name: "PUT, TLS, HTTP/1.1, not kept", Bytes: blobSize, Open: puts(overTLS, 1, blobSize)},
			{Name: "PUT, TLS, HTTP/2, not kept", Bytes: blobSize, Open: puts(overTLS2, 1, blobSize)},
			{Name: "file written, synced", Bytes: blobSize, Open: files(false)},
			{Name: "file hashed, written, synced", Bytes: blobSize, Open: files(true)},
			named("download", downloads()),
			{Name: "GET, TLS, HTTP/1.1", Bytes: blobSize, Open: gets(overTLS, 1, blobSize)},
			{Name: "GET of a file, TLS, HTTP/1.1", Bytes: blobSize, Open: getsFile(overTLS, 1, blobSize)},
			{Name: "GET, TLS, HTTP/2", Bytes: blobSize, Open: gets(overTLS2, 1, blobSize)},
		},
		Ratios: []Ratio{
			{Of: "download", To: "GET, TLS, HTTP/1.1", Goal: 0.95},
			{Of: "download", To: "GET of a file, TLS, HTTP/1.1"},
			{Of: "download", To: "GET, TLS, HTTP/2"},
			{Of: "upload", To: "PUT, TLS, HTTP/1.1, not kept"},
			{Of: "upload", To: "file hashed, written, synced"},
		},
	}
}

func startGroup() Group {
	const kept = 10_000
	return Group{
		Name: "start", Title: "Start to first answer, in process, 10,000 messages of about 4 KiB kept; p50 counts",
		Cases: []Case{
			named("mail server", starts(kept)),
			named("NATS", natsStarts(kept)),
		},
	}
}
