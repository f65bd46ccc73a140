package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func reachRows() []row {
	return []row{
		{"V1", "connections that say nothing are ended, and one address holds sixty-four and no more", slowloris},
		{"V2", "streams that are reset in floods cost others nothing, and their number and headers are bounded", resets},
		{"V3", "what is compressed is refused, and nothing is compressed for who asks for it", bombs},
		{"V4", "a signature that was good is not taken for good under the same words again", verifiedTwice},
		{"V5", "one address holds so many watches open and no more", watches},
		{"V6", "a server whose descriptors are taken keeps its promises and comes back", descriptors},
		{"V7", "a host that does not answer is asked seldom, however many letters wait for it", retryStorm},
		{"V8", "one bad item neither blocks nor spoils those beside it", poison},
		{"V9", "followers are told a number and ask for pages, however long the post and the page that they ask for", fanOut},
	}
}

// pinned makes a TLS connection to the mail server two from an address of this
// machine.
func (t *town) pinned(ctx context.Context, s *server, from net.IP, protocol string) (*tls.Conn, error) {
	at := s.at
	for n, e := range s.env {
		if listen, ok := strings.CutPrefix(e, "AD_LISTEN="); ok && n >= 0 {
			at = listen // not through the wire, which has one address
		}
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	raw, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}) // who it is, is no question here
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.HandshakeContext(limited); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

func slowloris(ctx context.Context, t *town) error {
	var f findings
	from := net.IPv4(127, 7, 7, 7)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	refused := 0
	for range 70 {
		c, err := t.pinned(ctx, t.two, from, "http/1.1")
		if err != nil {
			refused++
			continue
		}
		held = append(held, c)
	}
	f.must(len(held) <= 64 && len(held) > 32 && refused >= 6, "%d connections from one address, %d refused", len(held), refused)
	c, err := t.pinned(ctx, t.two, net.IPv4(127, 7, 7, 8), "http/1.1")
	if err != nil {
		return errors.Join(f.all(), fmt.Errorf("the control: another address: %w", err))
	}
	held = append(held, c)
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nX: "); err != nil {
		return err
	}
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(30 * time.Second))
	_, err = io.Copy(io.Discard, c)
	var late net.Error
	f.must(!errors.As(err, &late) || !late.Timeout(), "a header that does not end is still waited for after %s", time.Since(begun))
	f.must(time.Since(begun) > 5*time.Second, "the control: it was ended at once: %v", err)
	return f.all()
}

func resets(ctx context.Context, t *town) error {
	var f findings
	c, err := t.pinned(ctx, t.two, net.IPv4(127, 7, 8, 1), "h2")
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return err
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	settings := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, settings); err != nil {
		return err
	}
	streams := uint32(1 << 31)
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == 3 {
			streams = binary.BigEndian.Uint32(settings[2:])
		}
	}
	f.must(streams <= 64, "%d streams at once are allowed", streams)
	// Calls that are given up as soon as they are made.
	ann, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	flooding, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
		for flooding.Err() == nil {
			short, cancel := context.WithTimeout(flooding, time.Millisecond)
			req, err := http.NewRequestWithContext(short, http.MethodPost, t.toTwo.url+"/airdispatch.v1.Directory/Lookup", strings.NewReader("\x0a\x00"))
			if err == nil {
				req.Header.Set("Content-Type", "application/proto")
				if res, err := client.Do(req); err == nil {
					_ = res.Body.Close()
				}
			}
			cancel()
		}
		client.CloseIdleConnections()
	}()
	calls := 0
	for flooding.Err() == nil {
		_, err := ann.Peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
		f.fine(err, "somebody else's call")
		calls++
	}
	<-done
	f.must(calls > 10, "somebody else made %d calls in three seconds", calls)
	// A header that is too large.
	one, err := t.pinned(ctx, t.two, net.IPv4(127, 7, 8, 2), "http/1.1")
	if err != nil {
		return err
	}
	defer one.Close()
	_, _ = io.WriteString(one, "GET /healthz HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("a", 64<<10)+"\r\n\r\n") // it may be cut off
	_ = one.SetReadDeadline(time.Now().Add(15 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(one), nil)
	f.must(err != nil || res.StatusCode >= 400, "a header of 64 KiB is answered with %v", res)
	return f.all()
}

func bombs(ctx context.Context, t *town) error {
	var f findings
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(bytes.Repeat([]byte{0x0a, 0}, 1<<20))
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	for _, s := range t.shared() {
		url, _, _ := strings.Cut(s.reference, "#")
		for name, body := range map[string]string{"gzip": packed.String(), "br": "x", "zstd": "x", "deflate": "x", "identity": "\x0a\x00"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/airdispatch.v1.Directory/Lookup", strings.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/proto")
			req.Header.Set("Content-Encoding", name)
			req.Header.Set("Accept-Encoding", "gzip, br, zstd")
			res, err := headed{"X-Nothing", "x"}.RoundTrip(req)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil {
				return err
			}
			f.must((res.StatusCode == http.StatusOK) == (name == "identity"), "%s: %s is answered with %s", s.program, name, res.Status)
			f.must(res.Header.Get("Content-Encoding") == "" || res.Header.Get("Content-Encoding") == "identity", "%s: an answer of %d bytes is compressed: %v", s.program, len(b), res.Header)
		}
	}
	return f.all()
}

func verifiedTwice(ctx context.Context, t *town) error {
	var f findings
	both, err := t.people(ctx, t.one, t.two)
	if err != nil {
		return err
	}
	ann, bob := both[0], both[1]
	w := &wirev1.Access{From: ann.Address().Bytes(), CardId: cardID(ann.Keys), Audience: ann.Host.Address().Bytes(), Time: time.Now().UnixMilli(), Expires: time.Now().Add(time.Minute).UnixMilli()}
	good := state("access", w, ann.Keys.Signer)
	f.fine(t.account(ctx, t.toOne.url, spelled(good)), "the control: a good access")
	altered := &wirev1.Signed{Body: good.GetBody(), Key: good.GetKey(), Signature: bytes.Clone(good.GetSignature())}
	altered.Signature[40] ^= 1
	f.must(t.account(ctx, t.toOne.url, spelled(altered)) != nil, "the same words with another signature are good")
	stolen := &wirev1.Signed{Body: good.GetBody(), Key: bob.Keys.Signer.Public().Bytes(), Signature: bob.Keys.Signer.Sign("access", good.GetBody())}
	f.must(t.account(ctx, t.toOne.url, spelled(stolen)) != nil, "the same words with another's key are good")
	l, err := letter(ann.Keys, nil, "once good", bob.Keys.Chain)
	if err != nil {
		return err
	}
	if _, err := submit(ctx, ann, l); err != nil {
		return err
	}
	bad := &wirev1.Signed{Body: l.Head.Signed.GetBody(), Key: l.Head.Signed.GetKey(), Signature: make([]byte, 64)}
	next, err := letter(ann.Keys, nil, "never good", bob.Keys.Chain)
	if err != nil {
		return err
	}
	bad2 := &wirev1.Signed{Body: next.Head.Signed.GetBody(), Key: next.Head.Signed.GetKey(), Signature: l.Head.Signed.GetSignature()}
	_, refusals, err := submits(ctx, ann, &wirev1.Submission{Head: bad, Slots: l.Slots, Payload: l.Payload}, &wirev1.Submission{Head: bad2, Slots: next.Slots, Payload: next.Payload})
	f.must(err == nil && errors.Is(refusals[1], message.BadSignature), "another letter's signature: %v %v", refusals, err)
	if err == nil && refusals[0] == nil {
		return f.all() // the same words again are a duplicate, whatever comes with them
	}
	f.must(err == nil && errors.Is(refusals[0], message.BadSignature), "the same words without a signature: %v %v", refusals, err)
	return f.all()
}

func watches(ctx context.Context, t *town) error {
	var f findings
	s, err := t.limited(ctx, "watched", "AD_LIMITS__WATCHERS_PER_ADDRESS=2")
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for n := range 3 {
		stream, err := ann.Peer.Mailbox().Watch(watching, &wirev1.WatchRequest{})
		if err == nil && !stream.Receive() {
			err = stream.Err()
		}
		if n == 2 {
			f.refused(err, message.RateLimited, "the third watch")
		} else {
			f.fine(err, "the control: a watch")
		}
	}
	return f.all()
}

func descriptors(ctx context.Context, t *town) error {
	var f findings
	s, err := t.serve(ctx, spec{program: "admaild", name: "narrow", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick,
		prefix: []string{"sh", "-c", `ulimit -n 96; exec "$@"`, "sh"}})
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	var crowd []net.Conn
	for n := range 200 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 7, 9, byte(n%50+1))}, Timeout: time.Second}
		if c, err := d.DialContext(ctx, "tcp", s.at); err == nil {
			crowd = append(crowd, c)
		}
	}
	var kept []*message.Sealed
	limited, cancel := context.WithTimeout(ctx, 15*time.Second)
	for n := range 10 {
		l, err := letter(ann.Keys, nil, fmt.Sprintf("in the crowd %d", n), ann.Keys.Chain)
		if err != nil {
			cancel()
			return err
		}
		if _, err := submit(limited, ann, l); err == nil {
			kept = append(kept, l)
		}
	}
	cancel()
	f.must(len(crowd) > 96, "the control: only %d came", len(crowd))
	for _, c := range crowd {
		_ = c.Close()
	}
	f.fine(until(ctx, "the server to come back", func() bool {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := ann.Peer.Mailbox().Account(short, &wirev1.AccountRequest{})
		return err == nil
	}), "afterwards")
	res, err := ann.Peer.Mailbox().Sent(ctx, &wirev1.SentRequest{Limit: 100})
	f.must(err == nil && len(res.GetItems()) >= len(kept), "of %d acknowledged letters %d are there: %v", len(kept), len(res.GetItems()), err)
	select {
	case <-s.done:
		f.must(false, "it ended: %s", s.said())
	default:
	}
	return f.all()
}

func retryStorm(ctx context.Context, t *town) error {
	var f findings
	// Its courier has the waits that everybody has.
	s, err := t.serve(ctx, spec{program: "admaild", name: "patiently", init: []string{"--accounts", "open", "--tracker", t.hill.reference}})
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, s)
	if err != nil {
		return err
	}
	dead, err := t.newTrap()
	if err != nil {
		return err
	}
	k, err := proof.Keyring(message.RoleServer)
	if err != nil {
		return err
	}
	o := &outlaw{t: t, keys: k, identity: &message.Identity{Chain: k.Chain}, client: rpcClient(t, k)}
	if o.identity.Route, err = hostRoute(k, "https://"+dead.Addr().String(), [32]byte{1}); err != nil {
		return err
	}
	for range 20 {
		bob, err := o.citizen(ctx)
		if err != nil {
			return err
		}
		l, err := letter(ann.Keys, nil, "to nobody there", bob.Keys.Chain)
		if err != nil {
			return err
		}
		if _, err := submit(ctx, ann, l); err != nil {
			return err
		}
	}
	if err := until(ctx, "a first attempt", func() bool { return dead.came.Load() > 0 }); err != nil {
		return err
	}
	if err := pause(ctx, 15*time.Second); err != nil {
		return err
	}
	f.must(dead.came.Load() <= 20, "for twenty letters a dead host was tried %d times in 15 s", dead.came.Load())
	res, err := ann.Peer.Mailbox().Sent(ctx, &wirev1.SentRequest{Limit: 100})
	if err != nil {
		return err
	}
	next := map[int64]bool{}
	for _, item := range res.GetItems() {
		for _, d := range item.GetDeliveries() {
			f.must(d.GetState() == wirev1.DeliveryState_DELIVERY_STATE_QUEUED, "a letter is %s", d.GetState())
			next[d.GetNextAttempt()] = true
		}
	}
	f.must(len(next) > 0, "the control: nothing waits")
	return f.all()
}

func poison(ctx context.Context, t *town) error {
	var f findings
	s, err := t.scene(ctx)
	if err != nil {
		return err
	}
	var items []*wirev1.AlertItem
	var heads []*message.Head
	for n := range 3 {
		l, err := letter(s.mallory.Keys, nil, fmt.Sprintf("item %d", n), s.bob.keys.Chain)
		if err != nil {
			return err
		}
		items, heads = append(items, &wirev1.AlertItem{To: s.bob.address.Bytes(), Head: l.Head.Signed, Slot: slotOf(l, s.bob.address)}), append(heads, l.Head)
	}
	bad := &wirev1.AlertItem{To: []byte{1, 2, 3}, Head: &wirev1.Signed{Body: []byte{0xff}, Key: []byte{1}, Signature: []byte{2}}}
	results, err := s.o.alert(ctx, t.two, s.mallory, items[0], bad, items[1], &wirev1.AlertItem{}, items[2])
	if err != nil {
		return err
	}
	for n, r := range results {
		f.must((message.OpenRefusal(r.GetRefusal()) == nil) == (n%2 == 0), "item %d: %v", n, r.GetRefusal())
	}
	// One of the three cannot be read; the list and the others go on.
	s.o.mu.Lock()
	s.o.pulls = func(req *wirev1.PullRequest) (*wirev1.PullResponse, error) {
		res := &wirev1.PullResponse{}
		for range req.GetItems() {
			res.Results = append(res.Results, &wirev1.Pulled{Heads: []*wirev1.Signed{{Body: []byte{0xff}}}})
		}
		return res, nil
	}
	s.o.mu.Unlock()
	_, err = s.reads(ctx, heads[0].Ref())
	f.must(err != nil, "noise was read")
	in, err := s.bob.inbox(ctx)
	f.must(err == nil && has(in, heads[0].Ref()) == 1 && has(in, heads[1].Ref()) == 1 && has(in, heads[2].Ref()) == 1, "the list: %v %v", in, err)
	return f.all()
}

func fanOut(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	p, _, err := peer(ctx, t.nobody, t.two.reference)
	if err != nil {
		return err
	}
	stream, err := p.Exchange().Follow(following, &wirev1.FollowRequest{Address: ann.Address().Bytes()})
	if err != nil {
		return err
	}
	f.must(stream.Receive(), "the control: the stream: %v", stream.Err())
	before := stream.Msg().GetNow().GetSeq()
	var all []*wirev1.Submission
	for n := range 120 {
		text := "short"
		if n == 0 {
			text = strings.Repeat("long ", 100_000)
		}
		v, err := notice(ann.Keys, nil, "", text)
		if err != nil {
			return err
		}
		all = append(all, submission(v))
	}
	if _, refusals, err := submits(ctx, ann, all...); err != nil || errors.Join(refusals...) != nil {
		return errors.Join(append(refusals, err)...)
	}
	woken := false
	for !woken && stream.Receive() {
		m := stream.Msg()
		woken = m.GetNow().GetSeq() > before
		f.must(len(m.String()) < 200, "a follower is sent more than a number: %d characters", len(m.String()))
	}
	f.must(woken, "a follower was not told: %v", stream.Err())
	_, err = p.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: ann.Address().Bytes(), Limit: 1_000_000})
	f.must(err != nil, "a page of a million was given")
	res, err := p.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: ann.Address().Bytes(), Limit: 100})
	f.must(err == nil && len(res.GetPosts()) > 0 && len(res.GetPosts()) <= 100 && res.GetMore(), "a page has %d posts, %v", len(res.GetPosts()), err)
	return f.all()
}
