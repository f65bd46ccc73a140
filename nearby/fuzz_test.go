package nearby_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"

	"google.golang.org/protobuf/proto"
)

// seeds are datagrams that made peers of P2P v0.4 end, and good ones.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	k := keyring(t)
	now := time.Now()
	id := nearby.ID{1, 2, 3}
	h, err := message.SignHello(message.Hello{Peer: id, Port: 8001, Time: now, Expires: now.Add(time.Minute)}, k.Chain, k.Signer)
	must(t, err)
	signed, err := proto.Marshal(&wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: 8001, Hello: h.Signed})
	must(t, err)
	return map[string][]byte{
		"good":             oldDatagram(id, 8001),
		"signed":           signed,
		"foreign fields":   append(oldDatagram(id, 8001), 0xfa, 0x3f, 3, 'a', 'b', 'c', 0xf8, 0x3f, 7),
		"no id":            {0x10, 1},
		"empty":            {},
		"a short id":       {0x0a, 3, 0x0a, 1, 7, 0x10, 1},
		"a long id":        append([]byte{0x0a, 0x13, 0x0a, 0x11}, append(make([]byte, 17), 0x10, 1)...),
		"no port":          append([]byte{0x0a, 0x12, 0x0a, 0x10}, id[:]...),
		"a negative port":  append(append([]byte{0x0a, 0x12, 0x0a, 0x10}, id[:]...), 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"port 65536":       oldDatagram(id, 8001)[:20:20],
		"at no address":    append(oldDatagram(id, 8001), 0x28, 1),
		"at the loopback":  append(append(oldDatagram(id, 8001)[:23:23], "\x22\x09127.0.0.1"...), 0x28, 1),
		"at a group":       append(append(oldDatagram(id, 8001)[:23:23], "\x22\x09224.0.0.1"...), 0x28, 1),
		"too long":         append(oldDatagram(id, 8001), append([]byte{0x9a, 0x01, 0xe8, 0x07}, make([]byte, 1000)...)...),
		"a short beacon":   append(oldDatagram(id, 8001), 0x8a, 0x01, 2, 1, 2),
		"a hello of noise": append(oldDatagram(id, 8001), 0x82, 0x01, 3, 1, 2, 3),
		"cut off":          oldDatagram(id, 8001)[:25],
		"text":             []byte("GET / HTTP/1.1\r\n\r\n"),
	}
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	for name, b := range seeds(t) {
		d, err := nearby.ParseDatagram(b)
		good := name == "good" || name == "signed" || name == "foreign fields"
		switch {
		case (err == nil) != good:
			t.Errorf("%s: %v", name, err)
		case good && (d.ID != nearby.ID{1, 2, 3} || d.Port != 8001 || d.Length != len(b) || (d.Hello != nil) != (name == "signed")):
			t.Errorf("%s: read as %+v", name, d)
		case !good && !strings.HasPrefix(err.Error(), "nearby: ") && name != "a hello of noise":
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := nearby.ParseDatagram(b)
		if err != nil {
			return
		}
		if d.Port == 0 || d.Length != len(b) || len(b) > nearby.MaxDatagram || !bytes.Contains(b, d.ID[:]) {
			t.Errorf("%x was read as %+v", b, d)
		}
		if d.Public.IsValid() && !d.Public.IsGlobalUnicast() {
			t.Errorf("at %s", d.Public)
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add(nearby.ID{1, 2, 3}.String())
	f.Fuzz(func(t *testing.T, s string) {
		id, err := nearby.ParseID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("%q was read as %s", s, id)
		}
	})
}
