package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"
)

func TestBeacon(t *testing.T) {
	a := Beacon([]byte("key"), "beacon", 258)
	m := hmac.New(sha256.New, []byte("key"))
	m.Write([]byte("airdispatch/1 beacon\n\x00\x00\x00\x00\x00\x00\x01\x02"))
	if got := [16]byte(m.Sum(nil)); got != a {
		t.Errorf("%x, not %x", a, got)
	}
	for _, b := range [][16]byte{Beacon([]byte("yek"), "beacon", 258), Beacon([]byte("key"), "knock", 258), Beacon([]byte("key"), "beacon", 259)} {
		if a == b {
			t.Error("two beacons are the same")
		}
	}
}
