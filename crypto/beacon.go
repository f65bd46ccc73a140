package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Beacon is 16 bytes by which those who have the same key recognise each other in a period of time, and nobody else
// anything: HMAC-SHA256 of a label and the number of the period, cut off. Two labels make two beacons that nobody
// without the key can tell to belong together.
func Beacon(key []byte, label string, period uint64) [16]byte {
	m := hmac.New(sha256.New, key)
	// A hash takes everything.
	_, _ = m.Write(binary.BigEndian.AppendUint64([]byte(protocol+label+"\n"), period))
	return [16]byte(m.Sum(nil))
}
