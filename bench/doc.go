// Package bench measures Airdispatch beside its limits and its peers.
//
// A Case is one operation through the real thing: TLS 1.3 and HTTP/2 on
// loopback, signatures, SQLite files at synchronous=FULL, client and server in
// one process. Beside the operations stand limits, which are what the same
// machine can do at best (a signature check, a commit, a cipher, a bare HTTP
// exchange), and peers, which are other people's servers that do the same sort
// of thing.
//
// # What is compared
//
// Machines slow down and neighbours are loud, so absolute figures belong to one
// machine on one day. Cases of one Group are run in turn, round after round, and
// what counts is the ratio of two of them within one round; of these the median
// and the range are reported. The processor time of a thing, which a loud
// neighbour changes less than the clock, stands beside.
//
// Every round of a case begins with a fresh directory. Messages are made and
// signed before the clock starts: peers get theirs unsigned and ready, and who
// sends signs on a machine of its own.
//
// The same cases run as benchmarks (go test -bench) and in the command
// cmd/compare, which writes the tables of docs/performance.md.
package bench
