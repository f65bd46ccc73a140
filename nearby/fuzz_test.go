package nearby_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

// FuzzLine: a message of a session is a line of text that is no longer than one may be, or nothing.
func FuzzLine(f *testing.F) {
	f.Add(true, []byte("\x0a\x06\x08\x80\xd8\xa5\xda\x06\x12\x05hello"))
	f.Add(false, []byte("hello"))
	f.Add(true, []byte{0x12, 0xff})
	f.Add(true, []byte{0x0a, 0x0b, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, binary bool, b []byte) {
		l, err := nearby.ParseLine(binary, b)
		if err != nil {
			return
		}
		if !binary || !utf8.ValidString(l.Text) || len(l.Text) > nearby.MaxLine+1<<10 || l.Time.Year() > 9999 {
			t.Errorf("%x was read as %+v", b, l)
		}
	})
}

// FuzzLists: what peers say of others, and of their files, is read in bounds.
func FuzzLists(f *testing.F) {
	id := nearby.ID{1, 2, 3}
	one := append(oldDatagram(id, 8001)[:23:23], "\x22\x0810.0.0.7"...)
	f.Add(append([]byte{0x0a, byte(len(one))}, one...))
	f.Add([]byte{0x0a, 0})
	f.Add([]byte{0x0a, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		hosts, err := nearby.ParsePeers(b)
		if err == nil && len(hosts) > 256 {
			t.Errorf("%d hosts", len(hosts))
		}
		for _, h := range hosts {
			if !h.IsValid() || h.Zone() != "" {
				t.Errorf("host %s", h)
			}
		}
		_ = nearby.ParseFiles(b) // it does not panic
	})
}

// FuzzPinned: no body and no header of somebody who has proved who they are ends a node, or is answered
// as the fault of it.
func FuzzPinned(f *testing.F) {
	k := keyring(f)
	n := still(f, func(c *nearby.Config) {
		c.People, c.Inbox, c.Files = &book{contacts: []message.Address{k.Address()}}, letterbox{make(chan *wirev1.NearbyLetter, 1<<20)}, shelf{"f": []byte("f")}
	})
	der, _, err := k.Signer.DeviceCertificate(rand.Reader, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	must(f, err)
	h, err := n.Pinned(context.Background(), der)
	must(f, err)
	_, err = n.Listen("talk")
	must(f, err)
	cards, err := proto.Marshal(&wirev1.Identity{Cards: k.Chain.Signed(0)})
	must(f, err)
	for _, path := range []string{"/cards", "/letters", "/files", "/files/00", "/connection", "/ping", "/peers"} {
		f.Add(path, k.Address().String(), "talk", cards)
		f.Add(path, "", "", []byte{0x0a, 0xff})
	}
	f.Fuzz(func(t *testing.T, path, address, protocol string, body []byte) {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost} {
			r := &http.Request{
				Method: method, URL: &url.URL{Path: path}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "peer.invalid", RemoteAddr: "10.0.0.1:9",
				Header: http.Header{"Airdispatch-Address": {address}, "Airdispatch-Protocol": {protocol}, "Upgrade": {"airdispatch-connection"}},
				Body:   io.NopCloser(bytes.NewReader(body)),
			}
			w := &answerBuffer{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, r)
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s %q: %d", method, path, w.Code)
			}
		}
	})
}

// answerBuffer takes an answer, and deadlines, which it does not keep.
type answerBuffer struct{ *httptest.ResponseRecorder }

// SetReadDeadline does nothing.
func (answerBuffer) SetReadDeadline(time.Time) error { return nil }
