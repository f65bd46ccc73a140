package message

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// believer takes every signature for good, so that a fuzzer gets past them.
type believer struct{}

func (believer) Verify(crypto.Check) bool { return true }

func (believer) VerifyAll(cs []crypto.Check) []bool {
	good := make([]bool, len(cs))
	for i := range good {
		good[i] = true
	}
	return good
}

// coded fails where an error of a reader has no code of the list, and where it
// says that this program is at fault.
func coded(t *testing.T, err error) {
	t.Helper()
	if err != nil && CodeOf(err) == Internal {
		t.Errorf("the input is at fault, not this program: %v", err)
	}
}

// framed is a body under k's name, unsigned.
func framed(body []byte, k crypto.SigningKey) *wirev1.Signed {
	return &wirev1.Signed{Body: body, Key: k.Public().Bytes(), Signature: make([]byte, 64)}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{annText, strings.ToUpper(annText), "ad1", "", annText[:49] + "q"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		coded(t, err)
		if err == nil && a.String() != strings.ToLower(s) {
			t.Errorf("%q is read as %s", s, a)
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		annText, annText + "::profile", annText + "::" + midText, "ann@tracker.example:1", annText + "@@[2001:db8::1]:8443",
		"airdispatch:" + annText + "::a/b?tracker=https%3A%2F%2F%5B%3A%3A1%5D%3A444%23" + annText,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		coded(t, err)
		if err != nil {
			return
		}
		if target.Address.IsZero() == (target.UserName == "") {
			t.Fatalf("%q: both or neither of address and name", s)
		}
		again, err := ParseTarget(target.Link())
		if err != nil || again.Link() != target.Link() || again.String() != target.String() || len(again.Trackers) != len(target.Trackers) {
			t.Errorf("%q: %q is read as %+v, %v", s, target.Link(), again, err)
		}
	})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"https://t.example", "https://[::1]:1#" + annText, "HTTPS://1.2.3.4:5/", "https://0x7f.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		coded(t, err)
		if err != nil {
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r || CheckHostURL(r.URL) != nil {
			t.Errorf("%q: %q is read as %v, %v", s, r, again, err)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	ann, bob := user(f, "ann"), user(f, "bob")
	one := ann.seal(f, ann.letter(f, "x", bob)).Head
	for _, h := range []*Head{one, ann.seal(f, ann.post(f, "profile", "x")).Head, ann.seal(f, Draft{Author: ann.Chain, Prev: one, Time: testTime()}).Head} {
		f.Add(h.Signed.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := framed(body, ann.Signer)
		c, err := ParseHead(s)
		coded(t, err)
		if err != nil {
			return
		}
		h := c.head
		if h.Signed != s || h.ID != ID(crypto.ID(kindHead, body)) || (h.Audience == Private) == (len(h.To) == 0) {
			t.Errorf("read as %+v", h)
		}
		if h.Audience == Private && h.Kind == KindContent && h.Suite == crypto.SuiteNone {
			t.Error("private and clear")
		}
		_, err = c.Verify(believer{}, ann.Chain)
		coded(t, err)
		_, err = Open(h, nil, nil, body)
		coded(t, err)
		coded(t, one.CheckNext(h))
		coded(t, h.CheckSlots(nil))
	})
}

func FuzzOpenChain(f *testing.F) {
	ann := user(f, "ann")
	c := line(f, ann, 2)
	genesis, next := c.Signed(0)[0], c.Signed(0)[1]
	f.Add(genesis.Body, next.Body)
	f.Add(next.Body, genesis.Body)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		cards := []*wirev1.Signed{framed(one, ann.Rotation[0]), framed(two, ann.Rotation[0])}
		for _, list := range [][]*wirev1.Signed{cards[:1], cards} {
			chain, err := OpenChain(believer{}, list)
			coded(t, err)
			if err == nil && (chain.Len() != len(list) || chain.Address() != AddressOf(ID(crypto.ID(kindCard, one)))) {
				t.Errorf("a chain of %d cards", chain.Len())
			}
		}
		_, err := c.Branch(believer{}, cards[1:])
		coded(t, err)
		_, err = c.Extend(believer{}, cards[1:])
		coded(t, err)
	})
}

func FuzzOpenRoute(f *testing.F) {
	ann := newHosted(f, "ann")
	f.Add(ann.route.Signed.Body, false)
	f.Add(ann.serverRoute.Signed.Body, true)
	f.Fuzz(func(t *testing.T, body []byte, server bool) {
		p := ann.person
		if server {
			p = ann.server
		}
		r, err := OpenRoute(believer{}, p.Chain, framed(body, p.Signer))
		coded(t, err)
		if err != nil {
			return
		}
		if r.Address != p.Address() || !r.Expires.After(r.Time) || server == (len(r.Hosts) == 0) || server && len(r.Services) != 0 {
			t.Errorf("read as %+v", r)
		}
		coded(t, (&Identity{Chain: p.Chain, Route: r}).VerifyTickets(believer{}, map[Address]*Identity{ann.server.Address(): {Chain: ann.server.Chain}}, testTime()))
	})
}

func FuzzOpenIdentity(f *testing.F) {
	ann := newHosted(f, "ann")
	c := line(f, ann.person, 3)
	i := &Identity{Chain: c, Route: ann.route, FirstSeen: []time.Time{testTime(), testTime(), testTime()}}
	for n := range 3 {
		f.Add(must(proto.Marshal(i.WireAfter(n)))(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var w wirev1.Identity
		if proto.Unmarshal(b, &w) != nil {
			return
		}
		for _, known := range []*Chain{nil, ann.Chain, c} {
			got, err := OpenIdentity(believer{}, &w, known)
			coded(t, err)
			if err != nil {
				continue
			}
			if known != nil && got.Address() != known.Address() {
				t.Error("of another address than the known chain")
			}
			if a, err := IdentityAddress(&w); err == nil && a != got.Address() {
				t.Errorf("claims to be %s, is %s", a, got.Address())
			}
			if _, err := OpenIdentity(believer{}, got.Wire(), nil); err != nil {
				t.Errorf("what was read cannot be sent: %v", err)
			}
		}
	})
}

func FuzzOpenAnswer(f *testing.F) {
	d := newDesk(f)
	questions := []Query{{Address: d.ann.Address()}, {Name: "ann"}, {}}
	for _, q := range questions {
		f.Add(must(SignAnswer(d.about(f, q), d.Signer))(f).Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := framed(body, d.Signer)
		for _, q := range questions {
			a, err := OpenAnswer(believer{}, d.Chain, s, q, testTime())
			coded(t, err)
			if err == nil && (a.Query != q || a.Found != (a.Subject != nil)) {
				t.Errorf("read as %+v", a)
			}
		}
		a, err := OpenSelfAnswer(believer{}, Address{}, s, testTime())
		coded(t, err)
		if err == nil && a.Subject.Address() != a.Tracker {
			t.Error("not about itself")
		}
		_, err = AnswerTracker(s)
		coded(t, err)
	})
}

func FuzzParseAccess(f *testing.F) {
	ann := user(f, "ann")
	f.Add(must(SignAccess(ann.Chain, ann.Address(), testTime(), time.Minute, ann.Signer))(f))
	f.Add("Airdispatch AAAA")
	f.Fuzz(func(t *testing.T, header string) {
		c, err := ParseAccess(header)
		coded(t, err)
		if err != nil {
			return
		}
		_, err = c.Verify(believer{}, ann.Chain, ann.Address(), testTime())
		coded(t, err)
	})
}

func FuzzOpenReceipt(f *testing.F) {
	ann := user(f, "ann")
	f.Add(must(SignReceipt(Receipt{Issuer: ann.Address(), Kind: ReceiptOpened, ID: ID{1}, AcceptedAt: testTime(), For: ann.Address()}, ann.Signer))(f).Signed.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := OpenReceipt(believer{}, ann.Chain, framed(body, ann.Signer))
		coded(t, err)
		if err == nil && r.Issuer != ann.Address() {
			t.Errorf("issued by %s", r.Issuer)
		}
	})
}

func FuzzOpenTicketAndName(f *testing.F) {
	d := newDesk(f)
	f.Add(d.ann.ticket.Signed.Body)
	f.Add(d.about(f, Query{Name: "ann"}).Name.Signed.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		ticket, err := ParseTicket(framed(body, d.ann.server.Signer))
		coded(t, err)
		if err == nil {
			coded(t, ticket.Verify(believer{}, d.ann.server.Chain, testTime()))
		}
		r, err := OpenName(believer{}, d.Chain, framed(body, d.Signer))
		coded(t, err)
		if err == nil && CheckUserName(r.Name) != nil {
			t.Errorf("name %q", r.Name)
		}
	})
}

func FuzzParseContent(f *testing.F) {
	c := text("hello")
	c.Attachments = []Attachment{file("a.txt")}
	f.Add(must(MarshalContent(c))(f))
	f.Add(make2(0x0a, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseContent(b)
		coded(t, err)
		if err != nil {
			return
		}
		once, err := MarshalContent(c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		twice := must(MarshalContent(must(ParseContent(once))(t)))(t)
		if !bytes.Equal(once, twice) {
			t.Errorf("%x became %x", once, twice)
		}
		if body, _ := c.Body(); !utf8.ValidString(body) {
			t.Error("the body is not UTF-8")
		}
		c.Citation(TypeReplyTo)
	})
}

func FuzzParseKeyring(f *testing.F) {
	ann := user(f, "ann")
	good := must(MarshalKeyring(ann.Keyring))(f)
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeyring(b)
		coded(t, err)
		if err == nil {
			if again := must(ParseKeyring(must(MarshalKeyring(k))(t)))(t); again.Address() != k.Address() {
				t.Error("another identity")
			}
		}
	})
}

func FuzzAttachmentName(f *testing.F) {
	for _, s := range []string{"a.txt", "../x", "CON", ".nul. ", "-rf", "a\u202eb", strings.Repeat("ä", 150), "\xff", "_com1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := AttachmentName(s)
		switch {
		case got == "" || len(got) > 200 || !utf8.ValidString(got):
			t.Errorf("%q became %q", s, got)
		case strings.ContainsAny(got, "/\\:*?\"<>|\x00\n") || strings.HasPrefix(got, ".") || strings.HasPrefix(got, "-") || strings.HasSuffix(got, ".") || isDevice(got):
			t.Errorf("%q became %q", s, got)
		case AttachmentName(got) != got:
			t.Errorf("%q became %q, then %q", s, got, AttachmentName(got))
		}
		for _, r := range got {
			if !Visible(r) {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}

// FuzzCardSeq: the number that is read by itself is the one that the parser finds.
func FuzzCardSeq(f *testing.F) {
	f.Add(user(f, "ann").Chain.Head().Signed.GetBody())
	f.Add([]byte{1 << 3, 1, 1 << 3, 0})
	f.Add([]byte{1 << 3, 5, 1<<3 | 2, 0, 1<<3 | 3, 1<<3 | 4})
	f.Add([]byte{1 << 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		seq, err := cardSeq(&wirev1.Signed{Body: b})
		coded(t, err)
		var w wirev1.Card
		if proto.Unmarshal(b, &w) == nil && len(b) > 0 && len(b) <= MaxCard && (err != nil || seq != w.GetSeq()) {
			t.Errorf("%d, %v, the parser says %d", seq, err, w.GetSeq())
		}
	})
}
