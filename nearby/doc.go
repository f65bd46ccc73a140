// Package nearby lets peers on one local network find each other, and talk, without a
// server and without the internet. docs/protocol.md §15 is the rule that it follows; it
// speaks with peers of P2P v0.4, whose datagrams and HTTP it keeps.
//
// # The parts
//
// A Node announces itself by multicast and broadcast, over IPv4 and IPv6 at once, answers
// those who ask, and keeps a Table of who was heard. What a datagram says is a hint and
// nothing more. Those who are there are polled as P2P v0.4 does, where a datagram came from and
// nowhere else; what others say of third ones makes a node say that it is here, and never connect.
//
// Serve answers HTTP on one port in two ways, told apart by the first byte. In the clear
// come peers of P2P v0.4, with /ping, /peers and /ws; whoever they say that they are, they are
// shown as unverified. Over TLS 1.3, with device certificates on both ends and a post-quantum key exchange, come peers of
// our kind: their cards are compared with the address that was meant, and then they chat,
// bring letters and fetch files.
//
// Connect makes a Link, the other end of that. Link.Dial makes a Conn, a complete net.Conn for a protocol
// that the other end serves with Node.Listen; why it was not made, or ended, is a Reason.
//
// # Who finds out what
//
// A node is hidden unless it is Visible: its datagrams hold a beacon that changes every
// ten minutes, as its id does, and only those who know its address recognise it. Nor
// does it show its certificate to anybody who does not. A visible one signs a hello.
//
// # What is bounded
//
// Datagrams are at most MaxDatagram; they count only from sources on a network of this
// host, so many a second in all and from each host. An answer is never longer than what it
// answers, and there are at most ten a second. The Table is bounded in all and for each
// host, connections, sessions and what is read of them too; of the connections of one caller so many
// are taken. What is not read stops whoever writes it, and nobody else.
//
// Sockets, dialer and randomness come in through Config. Run, Serve and Look wait for
// every goroutine that they start, and so does Conn.Close.
package nearby
