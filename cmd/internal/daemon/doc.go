// Package daemon is what the server programs share: everything around a
// server that is neither tracker nor mail. A Program says what is its own, and
// Root makes the command line of it.
//
// # The data directory
//
// Everything that a server keeps lies in one directory, 0700: config.toml, the
// keys (identity.key, tls.key, 0600: a server does not start while others can
// read them), tls.crt, data.db, blobs/ and acme/. backup writes it into one
// file, restore makes it again from one.
//
// # Settings
//
// Defaults are overridden by config.toml, that by variables AD_…, those by
// flags. The file is read strictly: an unknown key or a value that cannot be
// right is an error with file, line and excerpt.
//
// # Words
//
// Data goes to stdout, words to stderr. A program ends with one of the codes of
// Exit…; serve ends with 0 when it was told to stop and has drained.
package daemon
