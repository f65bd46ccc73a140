// Package airdispatch is the house: mail that stays with its sender, for
// addresses that belong to no server. The package itself holds no code. It
// says how the rooms lie, and its test, house_test.go, holds them to it.
//
// # Floors
//
// Every directory is a room and every room lies on a floor. Imports only go
// down, and rooms on one floor do not know each other; they meet in cmd, and
// in internal/town for tests.
//
//	5  cmd/adctl  cmd/admaild  cmd/adtrackd   doors: flags, files, words, wiring
//	4  mailserver  client                     who answers, who asks
//	3  tracker  courier                       address to record; brings alerts
//	2  rpc  store                             carrying one call; keeping
//	1  message                                what is said: pure, verified values
//	0  crypto  wire                           keys and what keys do; the schema
//
// One verb has one file name on every floor: message/alert.go says what an
// alert is, courier/alert.go brings it, mailserver/alert.go takes it.
//
// # Where things come from
//
// The rooms below the doors make no connection, no listener and no random
// number of their own: a dialer, a listener and an io.Reader come in through
// each room's Config. So a whole network can run in one process, on
// connections and clocks that a test holds in its hand.
package airdispatch
