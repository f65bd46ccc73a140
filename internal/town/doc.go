// Package town is a whole network in one process, for tests: trackers, mail
// servers and the people who live on them.
//
// Everything is real but the wires. Calls go through TLS and HTTP/2, servers
// keep what they keep in SQLite files or in memory, and nobody shares a
// variable with anybody else; only the sockets are buffered pipes (Network),
// so a whole town fits into a testing/synctest bubble and a week takes no time
// in it.
//
// # Acting
//
// A test builds a town and lets its residents act by name:
//
//	w := town.New(t)
//	w.Tracker("hill")
//	w.Server("one")
//	w.Server("two")
//	ann := w.Resident("ann", "one")
//	bob := w.Resident("bob", "two")
//	m := ann.Send("hello", "bob")
//	bob.Awaits(m)
//	bob.Reads(m, "hello")
//
// No act returns an error. The first fault is kept, reported with the line of
// the test that caused it, and what follows is left out: what a test says is
// the story, not the plumbing. Acts that ought to be refused say so
// (Resident.Refused) and fail when they are not.
//
// # Trouble
//
// Servers and trackers can be stopped and started again on what they have kept
// (Server.Stop, Server.Start), links can be cut and mended (Network.Cut), and
// devices have clocks of their own.
package town
