// Package home is what one person's client remembers: the package home of a
// directory, one SQLite file with whatever a command must find again.
//
// # What is kept
//
// Identities as they were verified (Home implements store.Identities, so that
// store.Known remembers for a client as it does for a server), and evidence;
// the server and trackers of each of one's own addresses; contacts, the pins of
// names that trackers gave, and the disagreements that a person has accepted;
// messages with the versions that were fetched; how far a server's log was
// read; drafts, unfinished uploads, followed addresses.
//
// # Owners
//
// One file serves all identities of a home. What belongs to one of them is kept
// under its address, the owner; contacts, pins and what is known of others are
// the person's and shared. The zero address owns what somebody without an
// identity keeps: public messages.
//
// # Secrecy
//
// Fetched mail is kept decrypted, so that it can be read and searched offline.
// The directory is 0700 and the file 0600; keys are not in it. Ephemeral
// content is erased when it is over (Expire), and Erase removes what a
// tombstone took back before anybody saw it.
//
// # Rules
//
// A method is one transaction and returns nil only when its change is on disk.
// Several processes may use one home at once. What is absent is
// message.NotFound. Times keep milliseconds and come back in UTC. The file is
// not trusted: whoever reads statements from it verifies them again.
package home
