// Package rpc carries one call from somebody who asks to somebody who answers,
// and nothing of what the call means.
//
// # Carrying
//
// Calls are Connect (and with it gRPC and gRPC-Web) over HTTP/2 or HTTP/1.1 over
// TLS 1.3, on one port with everything else that a server offers; blobs travel as
// plain HTTP/1.1 bodies, which costs half of what HTTP/2 does. For the same reason a
// Peer makes calls that come one after the other on one HTTP/1.1 connection; calls
// that come at once, and all of somebody who has a stream there, share one of HTTP/2;
// a first stream that only receives has an HTTP/1.1 connection of its own, because a
// server can Park that for a third of the memory. A call is at most message.MaxCall
// bytes in either direction. Nothing is compressed: signed and sealed bytes do not
// shrink, and a small compressed body that opens to a large one is an attack; a
// request with a content coding is refused. There are no redirects, no cookies and
// no proxy from the environment.
//
// # Whom one talks to
//
// A Peer is an identity that was verified before, and the hosts of its route are
// tried in their order. A host with a pin must show the pinned key and nothing
// else counts; a host without one must satisfy the system's roots. Open makes the
// first contact: over a connection that accepts any certificate it asks the one
// question Lookup(self), and goes on only when the answer's cards hash to the
// wanted address and its route pins the certificate that was seen. No Access
// ever travels before that.
//
// Every outgoing connection is dialled by a Guard, which looks at the resolved IP
// address at the moment of connecting, so that neither a route nor a name server
// can aim a server at the machines beside it.
//
// # Who asks
//
// A call carries an Access in its Authorization header where the asker has a
// Keyring: signed once for each audience, kept for eight minutes, good for ten.
// Callers verifies such headers and remembers them until they expire. When a peer
// refuses with message.Clock and says what time it is, the Access for this one
// peer is signed by that clock and the call is tried once more.
//
// # Refusals
//
// A peer sees a code from message's closed list, the fixed sentence of that code
// and the server's clock, whatever the cause was; the cause stays in the log. An
// asker gets *message.Refused for what the peer said, an error wrapping
// message.Unavailable for what could not be reached, timed out or broke,
// message.BadSignature for a certificate that is not the expected one, and
// message.Denied for an address that the Guard refuses. A cancelled context
// stays context.Canceled.
//
// # Time
//
// A unary call has a deadline on both sides. A stream has none: its server sends
// something every HeartbeatEvery, and a receiver that hears nothing for
// HeartbeatPatience ends it with message.Unavailable. A request body must keep a
// minimum pace, and a peer that reads too slowly is disconnected. When a Server's
// context ends, streams end at once, calls have ten seconds to finish, and Serve
// returns when the last handler has.
package rpc
