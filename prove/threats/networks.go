package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

func networkRows() []row {
	return []row{
		{"N1", "somebody between who speaks older TLS, none, or has a certificate of his own gets no answer and no access", between},
		{"N2", "an access, a submission and an alert that are played again do nothing a second time", replayed},
		{"N3", "connections that break in the middle lose no letter and show none twice", broken},
		{"N4", "what is recorded now is of no use to a quantum computer: TLS and boxes are hybrid", postQuantum},
		{"N5", "texts of different lengths have payloads of equal length", lengths},
		{"N6", "a clock that is set wrong changes no order, and is corrected once and not again", wrongClock},
		{"N7", "hostile datagrams end no peer, get no more back than they are, and lead nobody to somebody else", spoofed},
	}
}

func between(ctx context.Context, t *town) error {
	var f findings
	for _, s := range t.shared() {
		url, _, _ := strings.Cut(s.reference, "#")
		at := strings.TrimPrefix(url, "https://")
		for name, config := range map[string]*tls.Config{
			"TLS 1.0": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "TLS 1.1": {MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, "TLS 1.2": {MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12},
		} {
			config.InsecureSkipVerify = true
			f.must(handshake(ctx, at, config) != nil, "%s: %s is spoken", s.program, name)
		}
		f.fine(handshake(ctx, at, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}), "the control: TLS 1.3")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http"+strings.TrimPrefix(t.toTwo.url, "https")+"/airdispatch.v1.Directory/Lookup", strings.NewReader("\x0a\x00"))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/proto")
	if res, err := http.DefaultClient.Do(req); err == nil {
		f.must(res.StatusCode >= 400, "without TLS there is an answer: %s", res.Status)
		_ = res.Body.Close()
	}
	// Somebody between the client and its server, with a certificate of his own,
	// who passes everything on.
	middle, heard, err := t.middle(t.two)
	if err != nil {
		return err
	}
	_, address, _ := strings.Cut(t.two.reference, "#")
	v := t.visitor()
	if _, err := v.adctl(ctx, "id", "new", "--no-passphrase"); err != nil {
		return err
	}
	_, err = v.adctl(ctx, "register", "--server", "https://"+middle+"#"+address, "--tracker", t.hill.reference)
	f.must(exits(err) == 6, "a server behind somebody else's certificate: %v", err)
	said := heard.bytes()
	f.must(len(said) > 0, "the control: nobody came")
	f.must(!bytes.Contains(said, []byte(message.AccessScheme)) && !bytes.Contains(said, []byte("Join")), "somebody between heard %q", said)
	return f.all()
}

// shared are the servers that all rows share.
func (t *town) shared() []*server { return []*server{t.hill, t.one, t.two} }

// handshake tries one.
func handshake(ctx context.Context, at string, config *tls.Config) error {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer raw.Close()
	return tls.Client(raw, config).HandshakeContext(ctx)
}

// middle is somebody who ends TLS with a certificate of his own and passes on,
// over TLS again, what he heard.
func (t *town) middle(to *server) (string, *recording, error) {
	certificate, key, err := crypto.NewCertificate(crand.Reader, []string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return "", nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return "", nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return "", nil, err
	}
	t.ends(func() { _ = l.Close() })
	heard := &recording{}
	url, _, _ := strings.Cut(to.reference, "#")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // it ends with either connection
				defer c.Close()
				far, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(c, far); _ = c.Close() }()
				_, _ = io.Copy(io.MultiWriter(far, heard), c)
			}()
		}
	}()
	return l.Addr().String(), heard, nil
}

// account asks a server about the account of whom an access speaks for.
func (t *town) account(ctx context.Context, url, access string) error {
	c := wirev1connect.NewMailboxClient(&http.Client{Transport: headed{"Authorization", access}}, url)
	_, err := c.Account(ctx, &wirev1.AccountRequest{})
	return err
}

// headed adds a header to every request, and checks no certificates.
type headed struct{ name, value string }

// RoundTrip makes a request.
func (h headed) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set(h.name, h.value)
	return (&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}).RoundTrip(r)
}

func replayed(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	access := func(at time.Time, life time.Duration) string {
		a, err := message.SignAccess(ann.Keys.Chain, ann.Host.Address(), at, life, ann.Keys.Signer)
		f.fine(err, "an access")
		return a
	}
	good := access(time.Now(), 5*time.Minute)
	f.fine(t.account(ctx, t.toOne.url, good), "the control: an access where it belongs")
	// Somebody who has an account at both.
	there, theirs, err := peer(ctx, ann.Client, t.two.reference)
	if err != nil {
		return err
	}
	if _, err := there.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: ann.Keys.Chain.Signed(0)}}); err != nil {
		return err
	}
	own, err := message.SignAccess(ann.Keys.Chain, theirs.Address(), time.Now(), time.Minute, ann.Keys.Signer)
	f.fine(err, "an access")
	f.fine(t.account(ctx, t.toTwo.url, own), "the control: an access for the other server")
	f.must(t.account(ctx, t.toTwo.url, good) != nil, "an access for one server is good at another")
	f.must(t.account(ctx, t.toOne.url, access(time.Now().Add(-8*time.Minute), 5*time.Minute)) != nil, "an access of eight minutes ago is still good")
	long := state("access", &wirev1.Access{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Audience: ann.Host.Address().Bytes(), Time: time.Now().UnixMilli(), Expires: time.Now().Add(time.Hour).UnixMilli()}, ann.Keys.Signer)
	f.must(t.account(ctx, t.toOne.url, spelled(long)) != nil, "an access for an hour is good")
	// The same submission twice: one message, the same receipt.
	l, err := letter(ann.Keys, nil, "once", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	first, err := submit(ctx, ann, l)
	f.fine(err, "a submission")
	again, err := submit(ctx, ann, l)
	f.fine(err, "the same submission")
	f.must(proto.Equal(decoded(first), decoded(again)), "the receipts differ")
	// The same alert three times: visible once.
	m, err := letter(s.mallory.Keys, nil, "thrice", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	for range 3 {
		f.fine(s.o.tells(ctx, t.two, s.mallory, m, s.bob.address), "the alert")
	}
	in, err := s.bob.inbox(ctx)
	f.must(err == nil && has(in, m.Head.Ref()) == 1, "an alert that came three times is there %d times: %v", has(in, m.Head.Ref()), err)
	return f.all()
}

// decoded is what a receipt says, whenever it was signed.
func decoded(s *wirev1.Signed) *wirev1.Receipt {
	w := &wirev1.Receipt{}
	if proto.Unmarshal(s.GetBody(), w) != nil {
		return nil
	}
	return w
}

// spelled writes a statement as the value of an Authorization header.
func spelled(s *wirev1.Signed) string {
	raw, err := proto.Marshal(s)
	if err != nil {
		return ""
	}
	return message.AccessScheme + " " + base64.RawURLEncoding.EncodeToString(raw)
}

func broken(ctx context.Context, t *town) error {
	var f findings
	far, w, err := t.wired(ctx, spec{program: "admaild", name: "far", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick})
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	bob, err := t.person(ctx, far)
	if err != nil {
		return err
	}
	// Of a stranger five may wait; whom one allows may send all.
	if _, err := bob.Peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: ann.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}}}); err != nil {
		return err
	}
	bob.Client.Close()
	w.cuts.Store(6)
	var all []*message.Sealed
	for n := range 40 {
		l, err := letter(ann.Keys, nil, fmt.Sprintf("in pieces %d", n), bob.Keys.Chain)
		if err != nil {
			return err
		}
		if _, err := submit(ctx, ann, l); err != nil {
			return err
		}
		all = append(all, l)
	}
	counts := func() (n, most int) {
		seen := map[string]int{}
		res, err := bob.Peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{Limit: 200})
		if err != nil {
			return 0, 0
		}
		for _, e := range res.GetEntries() {
			if h, err := message.ParseHead(e.GetHead()); err == nil {
				mid := h.MID().String()
				seen[mid]++
				most = max(most, seen[mid])
			}
		}
		return len(seen), most
	}
	n := 0
	f.fine(until(ctx, "all letters", func() bool { n, _ = counts(); return n >= len(all) }), fmt.Sprintf("%d of %d letters", n, len(all)))
	_, most := counts()
	f.must(most == 1, "a letter is there %d times", most)
	f.must(w.cuts.Load() < 0, "the control: only %d connections broke", 6-w.cuts.Load())
	f.fine(until(ctx, "the sender to know", func() bool {
		res, err := ann.Peer.Mailbox().Sent(ctx, &wirev1.SentRequest{Limit: 200})
		if err != nil || len(res.GetItems()) != len(all) {
			return false
		}
		for _, item := range res.GetItems() {
			for _, d := range item.GetDeliveries() {
				if s := d.GetState(); s == wirev1.DeliveryState_DELIVERY_STATE_QUEUED || s == wirev1.DeliveryState_DELIVERY_STATE_REFUSED {
					return false
				}
			}
		}
		return true
	}), "afterwards")
	return f.all()
}

func postQuantum(ctx context.Context, t *town) error {
	var f findings
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(t.toTwo.url, "https://"))
	if err != nil {
		return err
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	f.must(c.ConnectionState().CurveID == tls.X25519MLKEM768, "the key exchange is %s", c.ConnectionState().CurveID)
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	bob, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	note, err := t.file("later", "for the next fifty years")
	if err != nil {
		return err
	}
	id, err := ann.adctl(ctx, "send", "--to", bob.address.String(), note)
	f.fine(err, "send")
	var out []map[string]any
	f.fine(until(ctx, "the letter", func() bool {
		if _, err := bob.inbox(ctx); err != nil {
			return false
		}
		out, err = bob.list(ctx, "read", strings.TrimSpace(id))
		return err == nil
	}), "read")
	f.must(len(out) == 1 && out[0]["post_quantum"] == true, "sealed classically: %v %v", out, err)
	// Somebody whose card has an old box alone: it is said.
	old, err := t.classical(ctx)
	if err != nil {
		return err
	}
	out, err = ann.list(ctx, "lookup", old.String())
	f.must(err == nil && len(out) == 1 && out[0]["post_quantum"] == false, "the control: an old box is not told: %v %v", out, err)
	return f.all()
}

// classical is somebody whose card has a box of the old kind alone.
func (t *town) classical(ctx context.Context) (message.Address, error) {
	o, err := t.outlaw(message.RoleServer)
	if err != nil {
		return message.Address{}, err
	}
	p, err := o.citizen(ctx)
	if err != nil {
		return message.Address{}, err
	}
	head := p.Keys.Chain.Head()
	card, err := message.SignCard(message.CardDraft{Rotation: head.Rotation, Signers: head.Signers, Boxes: head.Boxes[1:], Time: time.Now(), Role: message.RoleUser}, head, p.Keys.Rotation[0])
	if err != nil {
		return message.Address{}, err
	}
	k := *p.Keys
	if k.Chain, err = k.Chain.Extend(crypto.Single{}, []*wirev1.Signed{card}); err != nil {
		return message.Address{}, err
	}
	id := &message.Identity{Chain: k.Chain}
	if id.Route, err = route(&k, 1, time.Now(), p.Identity.Route.Services...); err != nil {
		return message.Address{}, err
	}
	return p.Address(), t.publish(ctx, t.hill, id.Wire(), o.identity.Wire())
}

func lengths(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	sizes := map[int]bool{}
	for _, n := range []int{1, 2, 30, 100, 150} {
		l, err := letter(ann.Keys, nil, strings.Repeat("x", n), bob.Keys.Chain)
		if err != nil {
			return err
		}
		if _, err := submit(ctx, ann, l); err != nil {
			return err
		}
		sizes[l.Head.PayloadLen] = true
	}
	f.must(len(sizes) == 1, "five short texts have payloads of %v bytes", sizes)
	// The real client's letters as well: what is padded has few lengths.
	home, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	for _, n := range []int{3, 90, 5_000, 5_100} {
		note, err := t.file(fmt.Sprintf("length-%d", n), strings.Repeat("y", n))
		if err != nil {
			return err
		}
		if _, err := home.adctl(ctx, "send", "--to", bob.Address().String(), note); err != nil {
			return err
		}
	}
	padded := map[int]int{}
	for _, e := range t.toOne.exchanges("/Submit", home.address.Bytes()) {
		req := &wirev1.SubmitRequest{}
		if proto.Unmarshal(e.said.bytes(), req) != nil {
			continue
		}
		for _, s := range req.GetSubmissions() {
			size := len(s.GetPayload()) - crypto.Overhead
			f.must(padme(size), "a payload of %d bytes is not padded", size)
			padded[size]++
		}
	}
	f.must(len(padded) >= 2 && len(padded) <= 3, "the control: four letters have lengths %v", padded)
	return f.all()
}

// padme reports whether a length is one that padding makes: its lowest bits are
// zero, as many as its length has bits to tell.
func padme(n int) bool {
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	return n&(1<<max(e-s, 0)-1) == 0
}

func wrongClock(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	// Letters whose authors say other times than it is.
	var refs []message.Ref
	for n, off := range []time.Duration{0, -365 * 24 * time.Hour, 9 * time.Minute} {
		d := draft(s.mallory.Keys, fmt.Sprintf("by another clock %d", n), s.bob.keys.Chain)
		d.Time = time.Now().Add(off)
		if d.MID, err = message.NewMID(time.Now(), crand.Reader); err != nil {
			return err
		}
		l, err := message.Seal(d, s.mallory.Keys.Signer, crand.Reader)
		if err != nil {
			return err
		}
		f.fine(s.o.tells(ctx, t.two, s.mallory, l, s.bob.address), "a letter")
		refs = append(refs, l.Head.Ref())
	}
	in, err := s.bob.list(ctx, "inbox", "--requests", "--no-fetch")
	f.must(err == nil && len(in) == 3, "the inbox: %v %v", in, err)
	for n := range min(len(in), len(refs)) {
		f.must(in[n]["id"] == refs[n].String(), "at place %d is %v: an author's clock decided the order", n, in[n]["id"])
	}
	d := draft(s.mallory.Keys, "of tomorrow", s.bob.keys.Chain)
	d.Time = time.Now().Add(11 * time.Minute)
	if d.MID, err = message.NewMID(time.Now(), crand.Reader); err != nil {
		return err
	}
	l, err := message.Seal(d, s.mallory.Keys.Signer, crand.Reader)
	if err != nil {
		return err
	}
	f.must(s.o.tells(ctx, t.two, s.mallory, l, s.bob.address) != nil, "a letter of eleven minutes ahead was taken")
	// A server that says it is an hour later: the client believes it once.
	hour := time.Now().Add(time.Hour)
	s.o.mu.Lock()
	s.o.callers = nil
	s.o.joins = func(string) (*wirev1.JoinResponse, error) {
		return nil, &message.Refused{Code: message.Clock, ServerTime: hour}
	}
	s.o.mu.Unlock()
	v := t.visitor()
	if _, err := v.adctl(ctx, "id", "new", "--no-passphrase"); err != nil {
		return err
	}
	_, err = v.adctl(ctx, "register", "--server", s.o.reference, "--tracker", t.hill.reference)
	f.must(err != nil, "it registered")
	f.must(len(s.o.heard()) <= 2 && len(s.o.heard()) > 0, "a client whose clock was refused asked %d times", len(s.o.heard()))
	return f.all()
}
