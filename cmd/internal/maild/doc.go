// Package maild is the mail server as a program: its settings, its commands, and
// how its parts are wired. It lies beside the door (cmd/admaild) so that adctl
// localnet can run the very same program in its own process.
package maild
