// Package passer is a port for existing MessagePasser programs: clients that log in by
// name and secret, call each other by name, and pass messages through the server that
// both are connected to. docs/protocol.md §17 is the rule that it follows. What passes is in
// the clear for whoever runs the server, and on the wire too unless TLS lies below.
//
// # Frames
//
// A frame is a Message, in gob or in JSON. One port speaks both: the first byte of a
// connection tells which, and each client is answered in its own. encoding/gob is not made
// for hostile input, and lets whoever writes define types; so the one type that counts
// is read by hand here: a definition of exactly that type, once and first, then values of it.
// A frame has a length that is known, or counted, before anything of it is kept.
//
// # Connections
//
// The original matched frames by the id of a connection alone. Here a frame counts only
// when its sender, whom it is for, and its id are those of one connection that stands: everything else
// is answered by NoSuchConnection, with nothing of what was sent but these two names. An
// id begins with the name of whoever called, so nobody takes an id away from somebody else.
// Only what the protocol has two clients say to each other is passed on; WAT and what
// is unknown end with the server.
//
// # Clients
//
// A name may log in again at any time: the new client takes over, and the old one is told and
// closed. Whoever had a connection with a client that leaves is told, and nobody else. Each
// client has a queue of bounded size, and each connection a share of it; a connection that is over
// its share ends, and so does a client that takes nothing for a while, each with a reason in
// words. Nobody ever waits for somebody else's queue: what a client may send is paced by its own
// address alone.
//
// # Logging in
//
// Whoever has not logged in has ten seconds, 4 KiB, and one of a few places. Secrets are made here, 160 bits, and
// kept as hashes; wrong ones count against the host that they come from and the name that they are
// for. A host from which a name has logged in before is not held up by others' mistakes.
//
// Nothing here starts a goroutine but Server.Serve, which waits for all that it started.
package passer
