package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func originRows() []row {
	return []row{
		{"S1", "a sender's server that alters a message or signs one itself shows the reader nothing", forgedMessage},
		{"S2", "a sender's server that serves an old version, or a rewritten one, after a newer was announced is not believed", oldVersion},
		{"S3", "two versions under one number are a conflict, and a reply names the one that was answered", twoVersions},
		{"S4", "who says deleted may keep: nothing prevents it, and the page says so", page("**Deletion.**", "no protocol changes that")},
		{"S5", "the sender's server sees the reader's server come for a message, and never the reader", readerIsHidden},
		{"S6", "an answer that is endless, oversized or never comes ends in time and harms nobody else", endlessAnswer},
		{"S7", "a sender's server whose hosts lie inside leads nobody there", leadsInside},
		{"S8", "a sender's server that names a third party's host gets it a failed handshake and not one byte of a request", thirdParty},
		{"S9", "what was acknowledged with a receipt is still there after a crash, and the receipt proves it", acknowledged},
		{"S10", "an attachment that is cut short or altered is not saved", cutAttachment},
	}
}

// scene is an outlaw server, somebody who lives there, and a reader with the
// real client.
type scene struct {
	o       *outlaw
	mallory *proof.Person
	bob     *home
}

func (t *town) scene(ctx context.Context) (s scene, err error) {
	if s.o, err = t.outlaw(message.RoleServer); err != nil {
		return s, err
	}
	if s.mallory, err = s.o.citizen(ctx); err != nil {
		return s, err
	}
	s.bob, err = t.moves(ctx, t.two)
	return s, err
}

// reads lets the reader look, and returns what was shown of one message.
func (s scene) reads(ctx context.Context, ref message.Ref) (string, error) {
	if _, err := s.bob.inbox(ctx); err != nil {
		return "", err
	}
	return s.bob.adctl(ctx, "read", ref.String())
}

func forgedMessage(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	who := s.bob.address
	try := func(what string, alter func(l *message.Sealed, p *wirev1.Pulled)) {
		l, err := letter(s.mallory.Keys, nil, "the true words", s.bob.keys.Chain)
		if err != nil {
			f.fine(err, what)
			return
		}
		p := pulled(l, who)
		if alter != nil {
			alter(l, p)
		}
		s.o.serves(p)
		f.fine(s.o.tells(ctx, t.two, s.mallory, l, who), what+": the alert")
		out, err := s.reads(ctx, l.Head.Ref())
		if alter == nil {
			f.must(err == nil && strings.Contains(out, "the true words"), "the control: %v, %q", err, out)
			return
		}
		f.must(exits(err) > 0 && out == "", "%s: exit %d, shown %q", what, exits(err), out)
	}
	try("as it was written", nil)
	try("one bit of the payload", func(_ *message.Sealed, p *wirev1.Pulled) {
		p.Payload = bytes.Clone(p.Payload)
		p.Payload[len(p.Payload)/2] ^= 1
	})
	try("one byte less", func(_ *message.Sealed, p *wirev1.Pulled) { p.Payload = p.Payload[:len(p.Payload)-1] })
	try("another letter's payload", func(_ *message.Sealed, p *wirev1.Pulled) {
		if other, err := letter(s.mallory.Keys, nil, "other words!!!", s.bob.keys.Chain); err == nil {
			p.Payload, p.Slot = other.Payload, slotOf(other, who)
		}
	})
	try("a head that the server signed", func(l *message.Sealed, p *wirev1.Pulled) {
		body := l.Head.Signed.GetBody()
		p.Heads = []*wirev1.Signed{{Body: body, Key: s.o.keys.Signer.Public().Bytes(), Signature: s.o.keys.Signer.Sign("head", body)}}
	})
	// An alert that the server signed itself does not even arrive.
	l, err := letter(s.mallory.Keys, nil, "never written", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	body := l.Head.Signed.GetBody()
	results, err := s.o.alert(ctx, t.two, s.mallory, &wirev1.AlertItem{To: who.Bytes(), Slot: slotOf(l, who),
		Head: &wirev1.Signed{Body: body, Key: s.o.keys.Signer.Public().Bytes(), Signature: s.o.keys.Signer.Sign("head", body)}})
	f.must(err == nil && message.OpenRefusal(results[0].GetRefusal()) != nil, "an alert that the server signed was taken: %v", err)
	return f.all()
}

func oldVersion(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	who, reader := s.bob.address, s.bob.keys.Chain
	first, err := letter(s.mallory.Keys, nil, "the first words", reader)
	if err != nil {
		return err
	}
	second, err := letter(s.mallory.Keys, first.Head, "the second words", reader)
	if err != nil {
		return err
	}
	s.o.serves(pulled(first, who))
	f.fine(s.o.tells(ctx, t.two, s.mallory, first, who), "the first alert")
	out, err := s.reads(ctx, first.Head.Ref())
	f.must(err == nil && strings.Contains(out, "the first words"), "the control: the first version: %v %q", err, out)
	f.fine(s.o.tells(ctx, t.two, s.mallory, second, who), "the second alert")
	out, err = s.reads(ctx, first.Head.Ref())
	f.must(exits(err) > 1 || !strings.Contains(out, "the first words"), "the old version is shown as if it were the newest: %v %q", err, out)
	// A history that has another first version, and so another second one.
	other, err := letterAs(s.mallory.Keys, first.Head.MID, "other first words", reader)
	if err != nil {
		return err
	}
	twin, err := letter(s.mallory.Keys, other.Head, "other second words", reader)
	if err != nil {
		return err
	}
	for what, p := range map[string]*wirev1.Pulled{"with its beginning": pulled(twin, who, other), "without its beginning": pulled(twin, who), "under the true beginning": pulled(twin, who, first)} {
		s.o.mu.Lock()
		s.o.pulls = func(*wirev1.PullRequest) (*wirev1.PullResponse, error) {
			return &wirev1.PullResponse{Results: []*wirev1.Pulled{p}}, nil
		}
		s.o.mu.Unlock()
		out, err = s.reads(ctx, first.Head.Ref())
		f.must(!strings.Contains(out, "second words"), "a rewritten history %s is believed: %v %q", what, err, out)
	}
	s.o.serves(pulled(second, who, first))
	err = until(ctx, "the true history", func() bool {
		out, err = s.reads(ctx, first.Head.Ref())
		return err == nil && strings.Contains(out, "the second words")
	})
	f.must(err == nil, "the control: the true history is not believed: %v, %q", err, out)
	return f.all()
}

func twoVersions(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	who := s.bob.address
	left, err := letter(s.mallory.Keys, nil, "for you it says left", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	right, err := letterAs(s.mallory.Keys, left.Head.MID, "for others it says right", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	s.o.serves(pulled(left, who))
	f.fine(s.o.tells(ctx, t.two, s.mallory, left, who), "the first story")
	out, err := s.reads(ctx, left.Head.Ref())
	f.must(err == nil && strings.Contains(out, "left"), "the control: %v %q", err, out)
	f.must(s.o.tells(ctx, t.two, s.mallory, right, who) != nil, "another story under the same number was taken")
	s.o.serves(pulled(right, who))
	out, err = s.reads(ctx, left.Head.Ref())
	f.must(!strings.Contains(out, "right"), "the other story is shown: %v %q", err, out)
	note, err := t.file("reply", "I read left")
	if err != nil {
		return err
	}
	id, err := s.bob.adctl(ctx, "reply", left.Head.Ref().String(), note)
	if err != nil {
		return errors.Join(f.all(), err)
	}
	cited, err := s.cited(ctx, t, strings.TrimSpace(id))
	f.must(err == nil && cited == left.Head.ID, "the reply cites %s, %v; it answered %s", cited, err, left.Head.ID)
	return f.all()
}

// cited is the id of what the reader's reply answers, as mallory opens it.
func (s scene) cited(ctx context.Context, t *town, id string) (message.ID, error) {
	_, mid, _ := strings.Cut(id, "::")
	m, err := message.ParseMID(mid)
	if err != nil {
		return message.ID{}, err
	}
	p, _, err := peer(ctx, s.o.client, t.two.reference)
	if err != nil {
		return message.ID{}, err
	}
	res, err := p.Exchange().Pull(ctx, &wirev1.PullRequest{For: s.mallory.Address().Bytes(), Items: []*wirev1.FetchItem{{From: s.bob.address.Bytes(), Mid: m.Bytes()}},
		Identities: []*wirev1.Identity{s.mallory.Identity.Wire(), s.o.identity.Wire()}})
	if err != nil {
		return message.ID{}, err
	}
	got := res.GetResults()[0]
	if len(got.GetHeads()) == 0 {
		return message.ID{}, message.OpenRefusal(got.GetRefusal())
	}
	h, err := message.OpenHead(t.verifier, s.bob.keys.Chain, got.GetHeads()[0])
	if err != nil {
		return message.ID{}, err
	}
	l, err := s.mallory.Keys.Open(h, got.GetSlot(), got.GetPayload())
	if err != nil {
		return message.ID{}, err
	}
	c, ok := l.Content.Citation(message.TypeReplyTo)
	if !ok {
		return message.ID{}, errors.New("the reply cites nothing")
	}
	return c.ID, nil
}

// page is a row about what cannot be prevented: docs/threats.md says so.
func page(sentences ...string) func(context.Context, *town) error {
	return func(ctx context.Context, _ *town) error {
		root, err := proof.Product(ctx)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, "docs", "threats.md"))
		if err != nil {
			return err
		}
		var f findings
		text = bytes.Join(bytes.Fields(text), []byte(" ")) // lines end anywhere
		for _, s := range sentences {
			f.must(bytes.Contains(text, []byte(s)), "docs/threats.md does not say %q", s)
		}
		return f.all()
	}
}

func readerIsHidden(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	l, err := letter(s.mallory.Keys, nil, "who comes for this?", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	s.o.serves(pulled(l, s.bob.address))
	if _, err := s.bob.adctl(ctx, "allow", s.mallory.Address().String()); err != nil {
		return err
	}
	f.fine(s.o.tells(ctx, t.two, s.mallory, l, s.bob.address), "the alert")
	f.fine(until(ctx, "the reader's server to fetch on arrival", func() bool { return len(s.o.heard()) > 0 }), "prefetch")
	out, err := s.reads(ctx, l.Head.Ref())
	f.must(err == nil && strings.Contains(out, "who comes"), "the control: %v %q", err, out)
	two, err := message.ParseReference(t.two.reference)
	if err != nil {
		return err
	}
	for _, header := range s.o.heard() {
		a, err := message.ParseAccess(header)
		f.must(err == nil && a.From == two.Address, "the sender's server was asked by %v, %v", a, err)
	}
	return f.all()
}

func endlessAnswer(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	ends := make(chan struct{})
	defer close(ends)
	for what, answer := range map[string]func(*wirev1.PullRequest) (*wirev1.PullResponse, error){
		"5 MiB": func(*wirev1.PullRequest) (*wirev1.PullResponse, error) {
			return &wirev1.PullResponse{Results: []*wirev1.Pulled{{Payload: make([]byte, 5<<20)}}}, nil
		},
		"200,000 results": func(*wirev1.PullRequest) (*wirev1.PullResponse, error) {
			return &wirev1.PullResponse{Results: empty(200_000)}, nil
		},
		"never": func(*wirev1.PullRequest) (*wirev1.PullResponse, error) {
			<-ends
			return nil, message.Unavailable
		},
	} {
		l, err := letter(s.mallory.Keys, nil, what, s.bob.keys.Chain)
		if err != nil {
			return err
		}
		s.o.mu.Lock()
		s.o.pulls = answer
		s.o.mu.Unlock()
		f.fine(s.o.tells(ctx, t.two, s.mallory, l, s.bob.address), what)
		begun := time.Now()
		out, err := s.reads(ctx, l.Head.Ref())
		f.must(exits(err) > 1 && out == "" && time.Since(begun) < 50*time.Second, "%s: exit %d, %q, %s", what, exits(err), out, time.Since(begun))
	}
	// Others' mail goes on meanwhile.
	carol, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	l, err := letter(carol.Keys, nil, "in between", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	if _, err := submit(ctx, carol, l); err != nil {
		return err
	}
	f.fine(until(ctx, "another's letter", func() bool {
		out, err := s.reads(ctx, l.Head.Ref())
		return err == nil && strings.Contains(out, "in between")
	}), "the control")
	return f.all()
}

// empty is many answers that say nothing.
func empty(n int) (out []*wirev1.Pulled) {
	for range n {
		out = append(out, &wirev1.Pulled{})
	}
	return out
}

// trap is a listener that counts who comes.
type trap struct {
	net.Listener
	came atomic.Int32
}

// newTrap starts one.
func (t *town) newTrap() (*trap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &trap{Listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.came.Add(1)
			_ = c.Close()
		}
	}()
	t.ends(func() { _ = l.Close() })
	return p, nil
}

func leadsInside(ctx context.Context, t *town) error {
	var f findings
	inside, err := t.newTrap()
	if err != nil {
		return err
	}
	// A mail server that may go nowhere inside.
	blind, err := t.serve(ctx, spec{program: "admaild", name: "blind", init: []string{"--accounts", "open", "--tracker", t.hill.reference},
		env: append([]string{"AD_PRIVATE_NETWORKS=192.0.2.0/24"}, quick...)})
	if err != nil {
		return err
	}
	for _, who := range []struct {
		at   *server
		goes bool
	}{{blind, false}, {t.two, true}} {
		k, err := proof.Keyring(message.RoleServer)
		if err != nil {
			return err
		}
		o := &outlaw{t: t, keys: k, client: rpcClient(t, k), identity: &message.Identity{Chain: k.Chain}}
		if o.identity.Route, err = hostRoute(k, "https://"+inside.Addr().String(), sha256.Sum256([]byte("anything"))); err != nil {
			return err
		}
		mallory, err := o.citizen(ctx)
		if err != nil {
			return err
		}
		bob, err := t.person(ctx, who.at)
		if err != nil {
			return err
		}
		if _, err := bob.Peer.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: mallory.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}}}); err != nil {
			return err
		}
		l, err := letter(mallory.Keys, nil, "come and see", bob.Keys.Chain)
		if err != nil {
			return err
		}
		before := inside.came.Load()
		f.fine(o.tells(ctx, who.at, mallory, l, bob.Address()), "the alert")
		_, err = bob.Peer.Mailbox().Fetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{{From: mallory.Address().Bytes(), Mid: l.Head.MID.Bytes()}}})
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		f.must(inside.came.Load() > before == who.goes, "%s reached the inside %d times, %v", who.at.dir, inside.came.Load()-before, err)
	}
	// A user's route cannot name a host at all.
	p, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	r := &wirev1.Route{Address: p.Address().Bytes(), CardId: cardID(p.Keys), Seq: 9, Time: time.Now().UnixMilli(), Expires: time.Now().Add(time.Hour).UnixMilli(),
		Hosts: []*wirev1.Host{{Url: "https://169.254.169.254:443"}}}
	f.must(t.publish(ctx, t.hill, &wirev1.Identity{Cards: p.Keys.Chain.Signed(0), Route: state("route", r, p.Keys.Signer)}) != nil, "a user's route that names a host was taken")
	return f.all()
}

func thirdParty(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	victim, err := t.outlaw(message.RoleServer) // it has TLS and a key, but not the one that is pinned
	if err != nil {
		return err
	}
	url, _, _ := strings.Cut(victim.reference, "#")
	if s.o.identity.Route, err = hostRoute2(s.o.keys, url, sha256.Sum256([]byte("another key"))); err != nil {
		return err
	}
	mallory, err := s.o.citizen(ctx)
	if err != nil {
		return err
	}
	if _, err := s.bob.adctl(ctx, "allow", mallory.Address().String()); err != nil {
		return err
	}
	l, err := letter(mallory.Keys, nil, "ask there", s.bob.keys.Chain)
	if err != nil {
		return err
	}
	f.fine(s.o.tells(ctx, t.two, mallory, l, s.bob.address), "the alert")
	_, err = s.reads(ctx, l.Head.Ref())
	f.must(exits(err) > 1, "it was read: %v", err)
	f.must(len(victim.heard()) == 0, "the third party was asked %d times", len(victim.heard()))
	// With the right pin it is asked: the control.
	victim.serves(&wirev1.Pulled{})
	honest, err := victim.citizen(ctx)
	if err != nil {
		return err
	}
	if l, err = letter(honest.Keys, nil, "ask here", s.bob.keys.Chain); err != nil {
		return err
	}
	f.fine(victim.tells(ctx, t.two, honest, l, s.bob.address), "the honest alert")
	_, _ = s.reads(ctx, l.Head.Ref())
	f.must(len(victim.heard()) > 0, "the control: nobody is asked at all")
	return f.all()
}

// hostRoute2 is the second route of a server.
func hostRoute2(k *message.Keyring, url string, pin [32]byte) (*message.Route, error) {
	return message.SignRoute(message.Route{
		Pair: message.Pair{Route: 2}, Time: time.Now(), Expires: time.Now().Add(24 * time.Hour), Hosts: []message.Host{{URL: url, Pin: pin}},
	}, k.Chain, k.Signer)
}

func acknowledged(ctx context.Context, t *town) error {
	var f findings
	s, err := t.serve(ctx, spec{program: "admaild", name: "fragile", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick})
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	var heads []*message.Head
	for n := range 5 {
		l, err := letter(ann.Keys, nil, fmt.Sprintf("promise %d", n), ann.Keys.Chain)
		if err != nil {
			return err
		}
		signed, err := submit(ctx, ann, l)
		if err != nil {
			return err
		}
		r, err := message.OpenReceipt(t.verifier, ann.Host.Chain, signed)
		f.must(err == nil && r.ID == l.Head.ID && r.Kind == message.ReceiptSubmitted, "the receipt: %v", err)
		heads = append(heads, l.Head)
	}
	s.kill()
	if err := t.start(s); err != nil {
		return err
	}
	ann.Client.Close()
	res, err := ann.Peer.Mailbox().Sent(ctx, &wirev1.SentRequest{Limit: 100})
	if err != nil {
		return err
	}
	for _, h := range heads {
		found := 0
		for _, item := range res.GetItems() {
			for _, s := range item.GetHeads() {
				if proto.Equal(s, h.Signed) {
					found++
				}
			}
		}
		f.must(found == 1, "%s is there %d times", h.MID, found)
	}
	return f.all()
}

func cutAttachment(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	bob, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	if _, err := bob.adctl(ctx, "allow", ann.address.String()); err != nil {
		return err
	}
	long, err := t.file("long.txt", strings.Repeat("every word of this counts. ", 20_000))
	if err != nil {
		return err
	}
	sends := func() (message.Ref, error) {
		out, err := ann.adctl(ctx, "send", "--to", bob.address.String(), "--attach", long, long)
		if err != nil {
			return message.Ref{}, err
		}
		_, mid, _ := strings.Cut(strings.TrimSpace(out), "::")
		m, err := message.ParseMID(mid)
		ref := message.Ref{From: ann.address, MID: m}
		return ref, errors.Join(err, until(ctx, "the letter", func() bool {
			_, err := bob.inbox(ctx)
			if err == nil {
				_, err = bob.adctl(ctx, "read", ref.String())
			}
			return err == nil
		}))
	}
	for what, alter := range map[string]func([]byte) []byte{
		"as it is": nil, "half of it": func(b []byte) []byte { return b[:len(b)/2] }, "one bit": func(b []byte) []byte { b[len(b)-100] ^= 4; return b },
		"without the last piece": func(b []byte) []byte { return b[:len(b)-1000] },
	} {
		ref, err := sends()
		if err != nil {
			return err
		}
		if alter != nil {
			t.toOne.hook(hook{method: "/blobs/", contains: []byte(ref.MID.String()), alter: alter})
		}
		into := filepath.Join(t.dir, "files", "into "+what)
		if err := os.MkdirAll(into, 0o700); err != nil {
			return err
		}
		_, err = bob.adctl(ctx, "save", ref.String(), "-o", filepath.Join(into, "saved"))
		saved, missing := os.ReadFile(filepath.Join(into, "saved"))
		if alter == nil {
			f.must(err == nil && missing == nil && len(saved) == 27*20_000, "the control: %v, %v, %d bytes", err, missing, len(saved))
			continue
		}
		f.must(err != nil && missing != nil, "%s: %v, saved %d bytes", what, err, len(saved))
	}
	return f.all()
}
