package main

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// findings collects what is not as it must be.
type findings struct{ errs []error }

// must notes what does not hold.
func (f *findings) must(holds bool, format string, args ...any) {
	if !holds {
		f.errs = append(f.errs, fmt.Errorf(format, args...))
	}
}

// refused notes where something was not refused for this reason.
func (f *findings) refused(err error, code message.Code, what string) {
	if !errors.Is(err, code) {
		f.errs = append(f.errs, fmt.Errorf("%s: %v, not refused with %s", what, err, code.Name()))
	}
}

// fine notes an error.
func (f *findings) fine(err error, what string) {
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", what, err))
	}
}

// all is what was found.
func (f *findings) all() error { return errors.Join(f.errs...) }

// person opens an account without a program, for those who say what no program
// says.
func (t *town) person(ctx context.Context, s *server) (*proof.Person, error) {
	p, err := t.folk.Join(ctx, s.reference)
	if err == nil {
		t.ends(p.Client.Close)
	}
	return p, err
}

// people opens several accounts.
func (t *town) people(ctx context.Context, at ...*server) (out []*proof.Person, err error) {
	for _, s := range at {
		p, err := t.person(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// state signs any bytes as any kind of statement, as whoever has the key can.
func state(kind string, m proto.Message, key crypto.SigningKey) *wirev1.Signed {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err) // messages that are made here can be marshalled
	}
	return &wirev1.Signed{Body: body, Key: key.Public().Bytes(), Signature: key.Sign(kind, body)}
}

// letter is a private message, or its next version where prev is not nil.
func letter(author *message.Keyring, prev *message.Head, text string, readers ...*message.Chain) (*message.Sealed, error) {
	mid, err := message.NewMID(time.Now(), crand.Reader)
	if err != nil {
		return nil, err
	}
	d := draft(author, text, readers...)
	d.MID, d.Prev = mid, prev
	return message.Seal(d, author.Signer, crand.Reader)
}

// letterAs is a private message under a number of one's choice.
func letterAs(author *message.Keyring, mid message.MID, text string, readers ...*message.Chain) (*message.Sealed, error) {
	d := draft(author, text, readers...)
	d.MID = mid
	return message.Seal(d, author.Signer, crand.Reader)
}

// draft is a private message before it is sealed.
func draft(author *message.Keyring, text string, readers ...*message.Chain) message.Draft {
	d := message.Draft{Author: author.Chain, Readers: readers, Time: time.Now(), Terms: message.Revisable, Audience: message.Private, Content: &message.Content{}}
	d.Content.Set(message.TypeMarkdown, []byte(text))
	return d
}

// notice is a public message, named where there is a name.
func notice(author *message.Keyring, prev *message.Head, name, text string) (*message.Sealed, error) {
	d := message.Draft{Author: author.Chain, Prev: prev, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Name: name, Content: &message.Content{}}
	d.Content.Set(message.TypeMarkdown, []byte(text))
	if prev == nil && name == "" {
		var err error
		if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
			return nil, err
		}
	}
	return message.Seal(d, author.Signer, crand.Reader)
}

// submission is how a sealed message is handed in.
func submission(s *message.Sealed) *wirev1.Submission {
	return &wirev1.Submission{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload}
}

// submits hands versions in, and returns what became of each.
func submits(ctx context.Context, p *proof.Person, all ...*wirev1.Submission) (receipts []*wirev1.Signed, refusals []error, err error) {
	res, err := p.Peer.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: all})
	if err != nil {
		return nil, nil, err
	}
	if len(res.GetResults()) != len(all) {
		return nil, nil, fmt.Errorf("%d results for %d submissions", len(res.GetResults()), len(all))
	}
	for _, r := range res.GetResults() {
		receipts, refusals = append(receipts, r.GetReceipt()), append(refusals, message.OpenRefusal(r.GetRefusal()))
	}
	return receipts, refusals, nil
}

// submit hands in one version; the error is also its refusal.
func submit(ctx context.Context, p *proof.Person, s *message.Sealed) (*wirev1.Signed, error) {
	receipts, refusals, err := submits(ctx, p, submission(s))
	if err != nil {
		return nil, err
	}
	return receipts[0], refusals[0]
}

// slotOf is the slot of one reader.
func slotOf(s *message.Sealed, who message.Address) *wirev1.Slot {
	for _, slot := range s.Slots {
		if string(slot.GetAddress()) == string(who.Bytes()) {
			return slot
		}
	}
	return nil
}

// peer makes the first contact with a server.
func peer(ctx context.Context, c *rpc.Client, reference string) (*rpc.Peer, *message.Identity, error) {
	ref, err := message.ParseReference(reference)
	if err != nil {
		return nil, nil, err
	}
	p, answer, err := c.Open(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	return p, answer.Subject, nil
}

// publish brings a statement to a tracker, as anybody can.
func (t *town) publish(ctx context.Context, tracker *server, subject *wirev1.Identity, servers ...*wirev1.Identity) error {
	p, _, err := peer(ctx, t.nobody, tracker.reference)
	if err != nil {
		return err
	}
	res, err := p.Tracker().Publish(ctx, &wirev1.PublishRequest{Publications: []*wirev1.Publication{{Subject: subject, Servers: servers}}})
	if err != nil {
		return err
	}
	if len(res.GetResults()) != 1 {
		return fmt.Errorf("publish: %d results", len(res.GetResults()))
	}
	return message.OpenRefusal(res.GetResults()[0].GetRefusal())
}

// ask asks a tracker or server about an address, as anybody can.
func (t *town) ask(ctx context.Context, s *server, a message.Address) (*message.Answer, error) {
	p, self, err := peer(ctx, t.nobody, s.reference)
	if err != nil {
		return nil, err
	}
	q := message.Query{Address: a}
	res, err := p.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{q.Wire()}})
	if err != nil {
		return nil, err
	}
	if len(res.GetResults()) != 1 || len(res.GetResults()[0].GetAnswers()) == 0 {
		return nil, errors.Join(errors.New("no answer"), message.OpenRefusal(res.GetResults()[0].GetRefusal()))
	}
	return message.OpenAnswer(t.verifier, self.Chain, res.GetResults()[0].GetAnswers()[0], q, time.Now())
}

// route signs a route of somebody who lives at a server.
func route(k *message.Keyring, pair uint64, at time.Time, services ...message.Service) (*message.Route, error) {
	return message.SignRoute(message.Route{
		Pair: message.Pair{Route: pair}, Time: at, Expires: at.Add(90 * 24 * time.Hour), Services: services,
	}, k.Chain, k.Signer)
}

// until waits for something to become so.
func until(ctx context.Context, what string, is func() bool) error {
	for end := time.Now().Add(patience / 2); !is(); {
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %s", what)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pause waits.
func pause(ctx context.Context, long time.Duration) error {
	wait := time.NewTimer(long)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// file is a file with a text, for programs to read.
func (t *town) file(name, text string) (string, error) {
	path := filepath.Join(t.dir, "files", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// get asks a server as a browser does.
func (t *town) get(ctx context.Context, url string) (int, []byte, error) {
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // who it is, is no question here
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, b, errors.Join(err, res.Body.Close())
}

// rpcClient asks as somebody.
func rpcClient(t *town, k *message.Keyring) *rpc.Client {
	c := rpc.NewClient(rpc.Config{Dial: proof.Loopback(), Verifier: t.verifier, Keyring: k})
	t.ends(c.Close)
	return c
}

// head signs a head around any binding.
func head(b *wirev1.Binding, payload, commit []byte, key crypto.SigningKey) *wirev1.Signed {
	raw, err := proto.Marshal(b)
	if err != nil {
		panic(err) // messages that are made here can be marshalled
	}
	hash := crypto.Sum(payload)
	return state("head", &wirev1.Head{Binding: raw, PayloadHash: hash[:], PayloadLen: uint64(len(payload)), Commit: commit}, key)
}

// trimmed is what a program printed, without the end of the line.
func trimmed(s string) string { return strings.TrimSpace(s) }

// tlsWith is TLS with a certificate.
func tlsWith(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13}
}

// listen listens.
func listen(at string) (net.Listener, error) { return net.Listen("tcp", at) }
