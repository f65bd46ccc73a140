// Package storetest is the contracts of package store as tests.
//
// RunTracker, RunMail and RunBlobs hold an implementation to every sentence of
// the contracts; a store that passes may stand under a server. The open func
// that they take gives a new, empty store each time it is called and closes it
// at the end of the test. Compare runs one sequence of random calls on two
// stores and demands the same answers; with store/memory as the second it finds
// what no sentence says.
//
// People are real identities and messages are really sealed, with randomness
// that is the same in every run.
package storetest
