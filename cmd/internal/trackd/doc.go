// Package trackd is the tracker as a program: its settings, its commands, and
// how its parts are wired. It lies beside the door (cmd/adtrackd) so that
// adctl localnet can run the very same program in its own process.
package trackd
