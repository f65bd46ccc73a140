package nearby_test

import (
	"bytes"
	"crypto/rand"
	"flag"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/internal/vectors"
	"airdispatch/message"
	"airdispatch/nearby"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

var update = flag.Bool("update", false, "add new test vectors")

// given is what the operations of the vectors are given. Where Size is there, zeros follow Bytes up to it.
type given struct {
	Bytes     []byte   `json:"bytes,omitempty"`
	Size      int      `json:"size,omitempty"`
	Cards     [][]byte `json:"cards,omitempty"`
	Statement []byte   `json:"statement,omitempty"`
	Peer      []byte   `json:"peer,omitempty"`
	Port      uint16   `json:"port,omitempty"`
	Address   string   `json:"address,omitempty"`
	Beacon    []byte   `json:"beacon,omitempty"`
	Knock     string   `json:"knock,omitempty"`
	Now       int64    `json:"now,omitempty"`
}

// result is what an operation gives.
type result = map[string]any

func published() vectors.Set[given] {
	return vectors.Set[given]{Dir: "../testdata/vectors/nearby", Update: *update, Ops: map[string]func(testing.TB, given) (any, error){
		"datagram": runDatagram, "hello": runHello, "beacon": runBeacon, "recognise": runRecognise, "knocked": runKnocked,
	}}
}

// TestVectors: every published vector holds.
func TestVectors(t *testing.T) { published().Check(t, 60) }

func runDatagram(_ testing.TB, in given) (any, error) {
	d, err := nearby.ParseDatagram(append(bytes.Clone(in.Bytes), make([]byte, max(0, in.Size-len(in.Bytes)))...))
	if err != nil {
		return nil, err
	}
	out := result{"id": d.ID.String(), "port": d.Port, "answer": d.Answer}
	if d.Public.IsValid() {
		out["public"] = d.Public.String()
	}
	if d.Hello != nil {
		out["hello"] = d.Hello.Address.String()
	}
	if d.Beacon != [16]byte{} {
		out["beacon"] = d.Beacon[:]
	}
	return out, nil
}

func runHello(_ testing.TB, in given) (any, error) {
	var i wirev1.Identity
	for _, b := range in.Cards {
		i.Cards = append(i.Cards, &wirev1.Signed{})
		if err := proto.Unmarshal(b, i.Cards[len(i.Cards)-1]); err != nil {
			return nil, message.Invalid
		}
	}
	chain, err := message.OpenChain(crypto.Single{}, i.Cards)
	if err != nil {
		return nil, err
	}
	var s wirev1.Signed
	if err := proto.Unmarshal(in.Statement, &s); err != nil {
		return nil, message.Invalid
	}
	claim, err := message.ParseHello(&s)
	if err != nil {
		return nil, err
	}
	if len(in.Peer) != 16 || !claim.Fits([16]byte(in.Peer), in.Port, time.UnixMilli(in.Now)) {
		return nil, message.Invalid
	}
	h, err := claim.Verify(crypto.Single{}, chain)
	if err != nil {
		return nil, err
	}
	return result{"address": h.Address.String(), "time": h.Time.UnixMilli(), "expires": h.Expires.UnixMilli()}, nil
}

func runBeacon(_ testing.TB, in given) (any, error) {
	a, err := message.ParseAddress(in.Address)
	if err != nil {
		return nil, err
	}
	b := nearby.BeaconAt(a, time.UnixMilli(in.Now))
	return result{"beacon": b[:], "knock": nearby.KnocksAt(a, time.UnixMilli(in.Now))[1]}, nil
}

func runRecognise(tb testing.TB, in given) (any, error) {
	a, err := message.ParseAddress(in.Address)
	if err != nil {
		return nil, err
	}
	n, err := nearby.New(nearby.Config{ID: nearby.ID{1}, Port: 1, Keyring: keyring(tb), People: &book{contacts: []message.Address{a}}, Rand: rand.Reader,
		Listen: listenUDP, Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		return nil, err
	}
	if n.Recognise(tb.Context(), [16]byte(in.Beacon), time.UnixMilli(in.Now)) != a {
		return nil, message.NotFound
	}
	return result{}, nil
}

func runKnocked(_ testing.TB, in given) (any, error) {
	a, err := message.ParseAddress(in.Address)
	if err != nil {
		return nil, err
	}
	for _, k := range nearby.KnocksAt(a, time.UnixMilli(in.Now)) {
		if k == in.Knock {
			return result{}, nil
		}
	}
	return nil, message.Denied
}

// vectorTime is now, for what is not about time.
func vectorTime() time.Time { return time.Date(2026, 11, 21, 12, 3, 0, 0, time.UTC) }

// TestDatagramVectors has what peers say, and what is none.
func TestDatagramVectors(t *testing.T) {
	set := published()
	if !set.Update {
		return
	}
	id := nearby.ID{0xda, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	k := keyring(t)
	h, err := message.SignHello(message.Hello{Peer: id, Port: 8001, Time: vectorTime(), Expires: vectorTime().Add(10 * time.Minute)}, k.Chain, k.Signer)
	must(t, err)
	beacon := nearby.BeaconAt(k.Address(), vectorTime())
	short := proto.CloneOf(h.Signed)
	short.Signature = short.Signature[1:]
	newer := proto.CloneOf(h.Signed)
	newer.Key[0] = 2
	for name, c := range map[string]struct {
		change func(*wirev1.NearbyPeer)
		want   message.Code
	}{
		"the least":                 {func(*wirev1.NearbyPeer) {}, 0},
		"of an old peer":            {func(w *wirev1.NearbyPeer) { w.Ip = "<nil>" }, 0},
		"visible":                   {func(w *wirev1.NearbyPeer) { w.Hello = h.Signed }, 0},
		"hidden":                    {func(w *wirev1.NearbyPeer) { w.Beacon = beacon[:] }, 0},
		"hidden, padded":            {func(w *wirev1.NearbyPeer) { w.Beacon, w.Padding = beacon[:], make([]byte, 300) }, 0},
		"an answer":                 {func(w *wirev1.NearbyPeer) { w.Answer = true }, 0},
		"elsewhere":                 {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "198.51.100.7", true }, 0},
		"elsewhere, IPv6":           {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "2001:DB8:0::7", true }, 0},
		"elsewhere, IPv4 in IPv6":   {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "::ffff:198.51.100.7", true }, 0},
		"the last port":             {func(w *wirev1.NearbyPeer) { w.Port = 65535 }, 0},
		"without an id":             {func(w *wirev1.NearbyPeer) { w.Id = nil }, message.Invalid},
		"an empty id":               {func(w *wirev1.NearbyPeer) { w.Id.Value = nil }, message.Invalid},
		"a short id":                {func(w *wirev1.NearbyPeer) { w.Id.Value = id[1:] }, message.Invalid},
		"a long id":                 {func(w *wirev1.NearbyPeer) { w.Id.Value = append(id[:], 0) }, message.Invalid},
		"no port":                   {func(w *wirev1.NearbyPeer) { w.Port = 0 }, message.Invalid},
		"a port below none":         {func(w *wirev1.NearbyPeer) { w.Port = -1 }, message.Invalid},
		"one port too many":         {func(w *wirev1.NearbyPeer) { w.Port = 65536 }, message.Invalid},
		"nowhere else":              {func(w *wirev1.NearbyPeer) { w.IsPublicIp = true }, message.Invalid},
		"at a name":                 {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "host.example", true }, message.Invalid},
		"at a group":                {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "224.0.0.1", true }, message.Invalid},
		"at everybody":              {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "255.255.255.255", true }, message.Invalid},
		"at oneself":                {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "127.0.0.1", true }, message.Invalid},
		"at no place":               {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "::", true }, message.Invalid},
		"on the link":               {func(w *wirev1.NearbyPeer) { w.Ip, w.IsPublicIp = "fe80::1", true }, message.Invalid},
		"a short beacon":            {func(w *wirev1.NearbyPeer) { w.Beacon = beacon[1:] }, message.Invalid},
		"a long beacon":             {func(w *wirev1.NearbyPeer) { w.Beacon = append(beacon[:], 0) }, message.Invalid},
		"an empty hello":            {func(w *wirev1.NearbyPeer) { w.Hello = &wirev1.Signed{} }, message.Invalid},
		"a hello's signature cut":   {func(w *wirev1.NearbyPeer) { w.Hello = short }, message.Invalid},
		"a hello by another method": {func(w *wirev1.NearbyPeer) { w.Hello = newer }, message.Unsupported},
		"a hello that is too large": {func(w *wirev1.NearbyPeer) {
			w.Hello = &wirev1.Signed{Body: make([]byte, message.MaxHello+1), Key: h.Signed.Key, Signature: h.Signed.Signature}
		}, message.TooLarge},
	} {
		w := &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: 8001}
		c.change(w)
		b, err := proto.Marshal(w)
		must(t, err)
		set.Offer(t, "datagrams/datagram", name, given{Bytes: b}, c.want)
	}
	set.Offer(t, "datagrams/datagram", "nothing", given{}, message.Invalid)
	set.Offer(t, "datagrams/datagram", "garbage", given{Bytes: []byte("no protobuf")}, message.Invalid)
	least := oldDatagram(id, 8001)[:23]
	set.Offer(t, "datagrams/datagram", "the longest", given{Bytes: append(bytes.Clone(least), 0x9a, 1, 0xe5, 7), Size: 1024}, 0)
	set.Offer(t, "datagrams/datagram", "one byte too long", given{Bytes: append(bytes.Clone(least), 0x9a, 1, 0xe6, 7), Size: 1025}, message.TooLarge)
}

// TestHelloVectors has hellos, sound and not.
func TestHelloVectors(t *testing.T) {
	set := published()
	if !set.Update {
		return
	}
	k, other, now := keyring(t), keyring(t), vectorTime()
	id := [16]byte{0xda, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	type sort struct {
		life    time.Duration
		at      time.Duration
		port    uint16
		peer    byte
		chain   *message.Keyring
		corrupt func(*wirev1.Signed)
		want    message.Code
	}
	for name, c := range map[string]sort{
		"sound":                      {},
		"at its end and two minutes": {at: 12 * time.Minute},
		"two minutes early":          {at: -2 * time.Minute},
		"later than that":            {at: 12*time.Minute + time.Millisecond, want: message.Invalid},
		"earlier than that":          {at: -2*time.Minute - time.Millisecond, want: message.Invalid},
		"good for too long":          {life: 10*time.Minute + time.Millisecond, want: message.Invalid},
		"over before it began":       {life: -time.Minute, want: message.Invalid},
		"of another port":            {port: 8002, want: message.Invalid},
		"of another id":              {peer: 1, want: message.Invalid},
		"of another address":         {chain: other, want: message.Invalid},
		"its signature altered":      {corrupt: func(s *wirev1.Signed) { s.Signature[7] ^= 1 }, want: message.BadSignature},
		"by a key of somebody else": {corrupt: func(s *wirev1.Signed) {
			s.Key, s.Signature = other.Signer.Public().Bytes(), other.Signer.Sign("hello", s.Body)
		}, want: message.BadSignature},
		"signed as something else": {corrupt: func(s *wirev1.Signed) { s.Signature = k.Signer.Sign("access", s.Body) }, want: message.BadSignature},
		"of a card that is not known": {corrupt: func(s *wirev1.Signed) {
			var w wirev1.Hello
			must(t, proto.Unmarshal(s.Body, &w))
			w.CardId[3] ^= 1
			b, err := proto.Marshal(&w)
			must(t, err)
			s.Body, s.Signature = b, k.Signer.Sign("hello", b)
		}, want: message.NeedBundle},
	} {
		life := 10 * time.Minute
		if c.life != 0 {
			life = c.life
		}
		h, err := message.SignHello(message.Hello{Peer: id, Port: 8001, Time: now, Expires: now.Add(life)}, k.Chain, k.Signer)
		must(t, err)
		s := proto.CloneOf(h.Signed)
		if c.corrupt != nil {
			c.corrupt(s)
		}
		statement, err := proto.Marshal(s)
		must(t, err)
		in := given{Statement: statement, Peer: bytes.Clone(id[:]), Port: 8001, Now: now.Add(c.at).UnixMilli()}
		if c.port != 0 {
			in.Port = c.port
		}
		in.Peer[0] ^= c.peer
		whose := k
		if c.chain != nil {
			whose = c.chain
		}
		for _, card := range whose.Chain.Signed(0) {
			b, err := proto.Marshal(card)
			must(t, err)
			in.Cards = append(in.Cards, b)
		}
		set.Offer(t, "hellos/hello", name, in, c.want)
	}
}

// TestBeaconVectors has what changes every ten minutes.
func TestBeaconVectors(t *testing.T) {
	set := published()
	if !set.Update {
		return
	}
	a, b, now := keyring(t).Address(), keyring(t).Address(), vectorTime()
	in := func(at time.Duration) given { return given{Address: a.String(), Now: now.Add(at).UnixMilli()} }
	set.Offer(t, "beacons/beacon", "a beacon", in(0), 0)
	set.Offer(t, "beacons/beacon", "in the last moment of its ten minutes", in(7*time.Minute-time.Millisecond), 0)
	set.Offer(t, "beacons/beacon", "in the first of the next", in(7*time.Minute), 0)
	set.Offer(t, "beacons/beacon", "of somebody else", given{Address: b.String(), Now: now.UnixMilli()}, 0)
	set.Offer(t, "beacons/beacon", "of no address", given{Address: "ad1", Now: now.UnixMilli()}, message.Invalid)
	shown, knock := nearby.BeaconAt(a, now), nearby.KnocksAt(a, now)[1]
	for name, c := range map[string]struct {
		at         time.Duration
		seen, door message.Code
	}{
		"now":                       {0, 0, 0},
		"in the ten minutes after":  {17*time.Minute - time.Millisecond, 0, 0},
		"in the ten minutes before": {-13 * time.Minute, 0, 0},
		"after that":                {17 * time.Minute, message.NotFound, message.Denied},
		"before that":               {-13*time.Minute - time.Millisecond, message.NotFound, message.Denied},
	} {
		seen, door := in(c.at), in(c.at)
		seen.Beacon, door.Knock = shown[:], knock
		set.Offer(t, "beacons/recognise", "recognised "+name, seen, c.seen)
		set.Offer(t, "beacons/knocked", "let in "+name, door, c.door)
	}
	other := in(0)
	other.Address, other.Beacon = b.String(), shown[:]
	set.Offer(t, "beacons/recognise", "of an address that is not known", other, message.NotFound)
	other.Beacon, other.Knock = nil, knock
	set.Offer(t, "beacons/knocked", "a knock for somebody else", other, message.Denied)
	wrong := in(0)
	knocking, _ := bytes.CutSuffix([]byte(knock), []byte(".invalid"))
	wrong.Knock = string(knocking)
	set.Offer(t, "beacons/knocked", "without the end of the name", wrong, message.Denied)
}
