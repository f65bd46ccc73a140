// Package relay carries live connections: byte streams in both directions between
// two addresses, through the mail server of the one who is called. docs/protocol.md §14
// is the rule that it follows.
//
// # The three parts
//
// Server is the mail server's side. It answers WebSockets, asks an Authorizer who
// is there, pairs a caller with somebody who serves the protocol that was asked
// for, and passes frames from one to the other. It never sees more than
// ciphertext, lengths and times.
//
// Line is the side of somebody who calls or serves: one socket to one server, made
// anew whenever it breaks, and any number of Streams on it. A Stream is bytes in
// order with a window: whoever does not read holds up nobody but whoever writes to
// them. When a socket breaks, the server keeps what was paired for a minute;
// the line comes back under the same session, both ends say what they have received,
// and what got lost is sent again.
//
// Secure lays TLS 1.3 over a Stream, from one person to the other: both show a
// certificate of their device key, which must stand in the newest card of the
// address that was meant; the key exchange is X25519MLKEM768 and nothing else; the
// name of the connection is in the transcript. The result is a Conn, a complete
// net.Conn with half-close and messages.
//
// Where both ends are willing (Direct) and reach each other, the stream leaves the server for
// a socket between the two, on which both have proved again who they are, and comes back when that
// breaks. The callee tells where it waits inside the sealed channel, and waits for seconds and for
// one caller; the caller's own Dial decides what it may be sent to.
//
// # What is bounded
//
// A frame is at most MaxFrame and is refused before it is parsed. Of each stream
// at most Window bytes are under way, which the server enforces, so that is also
// what a connection can cost it. A Server has limits for sockets and connections, in all and for
// each address, for bytes a second, and for silence; see Limits.
//
// # Errors
//
// Why a connection was not made, or ended, is a Reason from a closed list, which is
// an error: errors.Is(err, relay.NotOnline). What the server refuses before that is
// a message.Code. Nothing here starts a goroutine but Server.Run, Server.ServeHTTP and
// Line.Run, and each waits for what it started.
package relay
