// Package store is what a server must remember: contracts, and the one policy
// that belongs to keeping, that nothing lower than what was seen is ever taken
// again (Known).
//
// # Contracts
//
// The interfaces say what must hold when a method returns. For all of them:
//
//   - A method that changes something returns nil only when the change survives
//     a crash and a loss of power. A method that returns an error has changed
//     nothing, unless the process died on the way.
//   - All methods are safe for concurrent use and honour their context.
//   - A method is one transaction: nobody sees half of it.
//   - What is absent is message.NotFound. Other codes are named at the method;
//     an error without a code is a fault of the storage.
//   - Values handed in and out are not shared: neither side changes them.
//   - Times keep milliseconds and come back in UTC.
//
// Stores hold no policy about who may read and check no signatures: that was
// done before by whoever calls. They decide what only a transaction can decide:
// compare-and-swap, duplicates, quotas, caps, the first fetch.
//
// # Log
//
// Every change that a client can see has a place in the server's log: Epoch and
// Seq. Seq rises by at least one with every change and never goes back; a
// restored store has a higher epoch. Cursors are places in this log.
//
// Implementations: store/sqlite (files), store/memory (maps; the model that the
// others are compared with). storetest is the contract as a test suite.
package store
