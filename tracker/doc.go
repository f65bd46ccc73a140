// Package tracker is the room that translates addresses to mail servers: a
// Server that keeps what owners signed, and a Resolver that asks servers of
// this kind and believes none of them.
//
// # The server's side
//
// Publish takes a whole bundle: the subject's cards and route, and for a user
// the identities of the servers that the route names. Everything is verified
// before it is kept: the chain, the route's order, the ticket of every server
// and all times. What is kept never goes back (store.Known). The receipt is
// signed after the store returned. Lookup returns bundles inside signed
// answers; a signed answer is used again for a minute, unless something in it
// changes, so a batch of look-ups costs no signatures. "Not found" is signed
// too. A name belongs to whoever claimed it first, for ever.
//
// A private tracker serves the addresses on its operator's list and those who
// are hosted by a server on it, and nobody else: what the list forbids is
// answered as if it were absent, or before anything was looked at.
//
// # The asking side
//
// A tracker's word counts for two things only: that something was not found,
// and when it first saw a card. All else hangs on the address. The Resolver
// asks two trackers where two are known, takes the higher pair, remembers it
// through store.Known, and throws away, with a line in the log, whatever is
// badly signed, about somebody else, or lower than what was seen before. Two
// trackers on two branches are a Disagreement, which a person must settle.
//
// Every Server and Resolver is safe for concurrent use and starts no goroutine
// that outlives a call.
package tracker
