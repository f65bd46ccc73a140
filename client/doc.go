// Package client is what one person's program does: it asks trackers, one's own
// mail server and, for public messages, the servers of others, and believes
// none of them. Everything that adctl does is a method here; adctl adds words.
//
// # A Client
//
// Open makes a Client from a home (store/home), a keyring and a way to connect.
// With no keyring it is nobody, who can look up addresses and read public
// messages. Only live connections have goroutines that
// outlive a call, and Close waits for them. A Client is safe for
// concurrent use; several processes may use one home.
//
// # Verbs
//
// Each verb has a file of its name. Register opens an account and publishes the
// route. Send seals, uploads and submits; it returns when the own server has
// promised to keep the message, whether or not the recipients' servers are up.
// Sync brings the inbox up to date, Read fetches a message through the own
// server, Edit and Recall make its next version. Post and Posts are the public
// side, which goes to the author's server directly and as nobody, so that one's
// own server does not learn what one reads.
//
// # What is checked
//
// Nothing is sealed to cards that no tracker confirms now, nor to an address
// about which trackers disagree, before a person has accepted it. A head is
// believed when its author's newest card lists the key; a version when it
// follows the ones before it, under the contract of the first; a payload when it
// is the one that was signed. What was pulled is compared with what was
// alerted: a history that was rewritten is ErrRewritten, and both heads are
// kept as evidence. A name is pinned when it is first resolved.
//
// # What is kept
//
// Every version that was read stays in the home and can be read offline, until
// its contract ends it. A draft is kept before anything is sent and removed when
// the server has accepted it; its message ids are chosen once, so that sending it
// again sends nothing twice. Uploads and downloads are taken up where they
// stopped, in constant memory; each piece of an upload is compared with what was
// hashed before it leaves, because two texts under one key would give both away.
//
// # Errors
//
// Errors wrap a message.Code where there is one to act on; ErrNoAccount,
// ErrNoIdentity and ErrRewritten name what else a program must tell apart.
package client
