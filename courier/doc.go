// Package courier brings what a mail server owes to others: alerts to the
// servers of the recipients, and receipts back to the servers of the authors.
//
// # Tasks
//
// What is to be brought stands in the store, in the same transaction as the
// message that it is about, so nothing is owed that a crash could forget. The
// courier claims due tasks for a short lease, brings them and settles them; a
// courier that dies leaves its claims to the end of the lease. A task is brought
// at least once; the receiver takes it exactly once.
//
// # Hosts
//
// Tasks are grouped by the server that they go to, and each server has a queue
// and workers of its own, so that one dead host never delays another. When a
// batch finds its server unreachable, everything that waits for that server is
// put back and tried later: 10 s at first, doubling, with jitter, to 6 h. Each
// retry looks the recipient up again, past the cache, because a recipient that
// cannot be reached may have moved. After five days the sender is told, and the
// courier goes on once a day while the message lives.
//
// # Words of others
//
// A receipt counts when the receiving server signed it for this very head and
// recipient; anything else is as good as no answer. A refusal that can pass
// (a full disk, a clock, a rate limit) is retried, one that cannot is final and
// the sender sees it. What trackers say is never final: only an owner's signature
// ends a delivery, under a closing card or under a route that names no server.
//
// The courier draws its jitter from Config.Rand, reads the time from the clock,
// and starts nothing before Run.
package courier
