// Package memory keeps what a server must remember in maps: for tests, and as
// the model that the other stores are compared with.
//
// One mutex guards everything, a method decides before it changes anything,
// and nothing survives the process. The code is meant to be read beside the
// contracts in package store, and to be right before it is fast: lists are
// found by looking at everything and sorting.
package memory
