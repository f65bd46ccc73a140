// Package whisper is a room's chat without a server: peers pass on what is said
// until everybody has it. It speaks the JSON objects of Whispering Gophers with
// old peers and more with its own kind, and needs no identity, account or home
// (docs/protocol.md §16).
//
// A peer dials those that it sends to and is dialled by those that send to it:
// every connection goes one way. Each neighbour has a queue of its own, bounded,
// out of which the oldest falls, so that an unreachable or slow one holds up
// nobody. What comes in is bounded, cut into JSON values, and dropped where it
// is no message; ids that were seen are forgotten by age and number. Whoever
// floods is disconnected and blacklisted for a while.
//
// Until a neighbour has shown to be of this kind, it gets the original format
// and nothing else: it shows by the form of the ids that it makes, which are as
// random as before to everybody else. Among their kind, peers keep few
// neighbours, push messages along a tree, tell the other neighbours only the
// ids, and ask for what is missing, so that a message costs about one transfer
// for each peer instead of one for each connection.
//
// Nothing here proves who speaks, except the signature of an identity where one
// came along. The core decides and knows no sockets and no clock; Node holds
// it, with the connections that come in through Config.
package whisper
