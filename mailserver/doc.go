// Package mailserver answers for a mail server: to the owners whose addresses it
// hosts (Mailbox), to everybody else (Exchange), and about itself (Directory).
//
// # Who may ask what
//
// Owners prove themselves with an Access and have an account. Other servers
// prove themselves likewise and speak for an address only while that address's
// own route names them: alerts come from a server in the sender's route, pulls
// from the recipient or from a server in the recipient's route. What is absent
// and what is forbidden to read answer alike, NotFound; an alert that is not
// taken answers NotAccepted, whatever the reason.
//
// # What is kept
//
// A message is kept once, where its author submitted it, until the author
// recalls it or it expires. For its owners as readers a server keeps alerts (a
// head and the reader's slot), and a copy of what it pulled, which is ciphertext.
// Every answer that promises something is signed, and given after the store has
// made it durable. The first handing-out of a version to a reader commits a mark
// before any byte of it leaves; the recall of a final message looks for marks in
// its own transaction.
//
// # Fetching
//
// A reader's server pulls from the author's server, also where the two are one:
// it goes through the same verbs and the same sockets. Everything that comes is
// verified before it is kept or handed on: heads against the author's cards,
// payloads against their heads. For accepted senders it fetches on arrival, after
// a random while, so that a fetch does not tell the hour of reading.
//
// # One verb, one file
//
// Each verb of the protocol has the file of its name here. Server is safe for
// concurrent use; New starts nothing, Run does what has to be done with time.
package mailserver
