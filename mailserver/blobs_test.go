package mailserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// blobOf makes some bytes and their id.
func blobOf(t *testing.T, n int, seed byte) ([]byte, message.ID) {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ seed
	}
	id, _, err := crypto.BlobID(bytes.NewReader(b))
	must(t, err)
	return b, id
}

// plain is a plain request.
type plain struct {
	method, path string
	body         []byte
	header       map[string]string
}

// do makes a plain request; the body of the answer is read.
func do(w *world, p *rpc.Peer, q plain) (int, http.Header, []byte, error) {
	w.t.Helper()
	method, path, body, header := q.method, q.path, q.body, q.header
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, path, r)
	must(w.t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := p.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, b, err
}

func blobPath(id message.ID) string { return "/blobs/" + id.String() }

// put uploads bytes off to end of b.
func (p *person) put(id message.ID, b []byte, off, end int) (int, string, error) {
	p.t.Helper()
	code, h, _, err := do(p.w, p.peer, plain{http.MethodPut, blobPath(id), b[off:end], map[string]string{
		"Content-Range": fmt.Sprintf("bytes %d-%d/%d", off, end-1, len(b)),
	}})
	return code, h.Get("Airdispatch-Have"), err
}

// TestBlobEndsCutOff: a server that was killed after the last byte was on the
// disk and before that was noted lets the upload be finished all the same, and
// another owner learns nothing of the blob before uploading it as well.
func TestBlobEndsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	one := w.host("one")
	ann, eve, bob := w.person("ann", one), w.person("eve", one), w.person("bob", w.host("two"))
	b, id := blobOf(t, 1<<20, 1)
	if code, _, err := ann.put(id, b, 0, 1000); err != nil || code != http.StatusAccepted {
		t.Fatalf("the first part: %d, %v", code, err)
	}
	ref := store.BlobRef{ID: id, Size: int64(len(b))}
	if _, err := one.mail.Blobs.Write(t.Context(), ref, 1000, bytes.NewReader(b[1000:])); err != nil {
		t.Fatal(err)
	}
	listed := &wirev1.BlobRef{Hash: id[:], Size: uint64(len(b))}
	if _, err := ann.trySend(ann.letter("too early", bob), listed); message.CodeOf(err) != message.NotFound {
		t.Fatalf("what is not noted is listed: %v", err)
	}
	have := func(p *person, status int, want string) {
		t.Helper()
		if code, h, _, err := do(w, p.peer, plain{http.MethodHead, blobPath(id), nil, nil}); err != nil || code != status || h.Get("Airdispatch-Have") != want {
			t.Fatalf("how much: %d, %v, %v", code, h, err)
		}
	}
	have(eve, http.StatusPartialContent, "0")
	have(ann, http.StatusOK, fmt.Sprint(len(b)))
	ann.send(ann.letter("see attached", bob), listed)

	if code, n, err := eve.put(id, b, 0, 1000); err != nil || code != http.StatusOK || n != fmt.Sprint(len(b)) {
		t.Fatalf("what is there already: %d, %s, %v", code, n, err)
	}
	have(eve, http.StatusOK, fmt.Sprint(len(b)))
	eve.send(eve.letter("see attached", bob), listed)
}

// TestBlobNotCompared: a server that was killed when the last byte was in the part, and before it was
// compared, has the upload finished by whoever sends that byte again.
func TestBlobNotCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	one := w.host("one")
	ann, bob := w.person("ann", one), w.person("bob", w.host("two"))
	b, id := blobOf(t, 1<<20, 1)
	if code, _, err := ann.put(id, b, 0, 1000); err != nil || code != http.StatusAccepted {
		t.Fatalf("the first part: %d, %v", code, err)
	}
	// As it would be with one byte more, the store takes it for a part.
	longer := store.BlobRef{ID: id, Size: int64(len(b)) + 1}
	if n, err := one.mail.Blobs.Write(t.Context(), longer, 1000, bytes.NewReader(b[1000:])); err != nil || n != int64(len(b)) {
		t.Fatalf("%d, %v", n, err)
	}
	listed := &wirev1.BlobRef{Hash: id[:], Size: uint64(len(b))}
	if _, err := ann.trySend(ann.letter("too early", bob), listed); message.CodeOf(err) != message.NotFound {
		t.Fatalf("what is not compared is listed: %v", err)
	}
	if code, n, err := ann.put(id, b, len(b)-1, len(b)); err != nil || code != http.StatusOK || n != fmt.Sprint(len(b)) {
		t.Fatalf("the last byte again: %d, %s, %v", code, n, err)
	}
	ann.send(ann.letter("see attached", bob), listed)
}

// TestRefusedBlobCountsNoLonger: bytes that are not what the id says are dropped,
// and take up nobody's quota.
func TestRefusedBlobCountsNoLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	ann := w.person("ann", w.host("one"))
	_, id := blobOf(t, 1<<20, 1)
	other, _ := blobOf(t, 1<<20, 2)
	if _, _, err := ann.put(id, other, 0, len(other)); message.CodeOf(err) != message.BadSignature {
		t.Fatalf("other bytes than the id says: %v", err)
	}
	res, err := ann.peer.Mailbox().Account(t.Context(), &wirev1.AccountRequest{})
	if err != nil || res.GetBytesUsed() != 0 {
		t.Fatalf("%d bytes used, %v", res.GetBytesUsed(), err)
	}
}

// TestCursorsThatNoLogReaches are refused, and nobody's log fills with them.
func TestCursorsThatNoLogReaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	ann := w.person("ann", w.host("one"))
	account, err := ann.peer.Mailbox().Account(t.Context(), &wirev1.AccountRequest{})
	must(t, err)
	far := &wirev1.Cursor{Epoch: account.GetNow().GetEpoch(), Seq: 1 << 63}
	_, inbox := ann.peer.Mailbox().Inbox(t.Context(), &wirev1.InboxRequest{After: far})
	_, sent := ann.peer.Mailbox().Sent(t.Context(), &wirev1.SentRequest{After: far})
	_, posts := ann.peer.Exchange().Posts(t.Context(), &wirev1.PostsRequest{Address: ann.address().Bytes(), After: far})
	_, alerts := ann.peer.Exchange().Alerts(t.Context(), &wirev1.AlertsRequest{For: ann.address().Bytes(), After: far})
	for call, err := range map[string]error{"inbox": inbox, "sent": sent, "posts": posts, "alerts": alerts} {
		if message.CodeOf(err) != message.Invalid {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// TestBlobs: an attachment is uploaded in parts, listed by a message, read
// through the reader's server in ranges, and gone after the recall.
func TestBlobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = inFiles
	defer w.stop()
	one, two, three := w.host("one"), w.host("two"), w.host("three")
	ann, bob, eve := w.person("ann", one), w.person("bob", two), w.person("eve", three)
	b, id := blobOf(t, 3<<20+17, 1)

	if code, have, err := ann.put(id, b, 0, 1<<20); err != nil || code != http.StatusAccepted || have != "1048576" {
		t.Fatalf("the first part: %d, %s, %v", code, have, err)
	}
	if code, h, _, err := do(w, ann.peer, plain{http.MethodHead, blobPath(id), nil, nil}); err != nil || code != http.StatusPartialContent || h.Get("Airdispatch-Have") != "1048576" {
		t.Fatalf("how much: %d, %v, %v", code, h, err)
	}
	if _, _, err := ann.put(id, b, 5, 10); message.CodeOf(err) != message.Conflict {
		t.Fatalf("another place: %v", err)
	}
	if _, err := ann.trySend(ann.letter("see attached", bob), &wirev1.BlobRef{Hash: id[:], Size: uint64(len(b))}); message.CodeOf(err) != message.NotFound {
		t.Fatalf("half a blob is listed: %v", err)
	}
	if code, have, err := ann.put(id, b, 1<<20, len(b)); err != nil || code != http.StatusOK || have != fmt.Sprint(len(b)) {
		t.Fatalf("the rest: %d, %s, %v", code, have, err)
	}
	h := ann.send(ann.letter("see attached", bob), &wirev1.BlobRef{Hash: id[:], Size: uint64(len(b))})
	bob.awaits(h)
	if r, err := bob.fetch(h.Ref(), 0); err != nil || len(r.GetBlobs()) != 1 {
		t.Fatalf("bob's copy lists %v, %v", r.GetBlobs(), err)
	}

	path := fmt.Sprintf("%s?from=%s&mid=%s", blobPath(id), h.From, h.MID)
	for name, p := range map[string]*person{"ann": ann, "bob": bob} {
		if code, _, got, err := do(w, p.peer, plain{http.MethodGet, path, nil, nil}); err != nil || code != http.StatusOK || !bytes.Equal(got, b) {
			t.Fatalf("%s reads %d bytes, %d, %v", name, len(got), code, err)
		}
		code, head, got, err := do(w, p.peer, plain{http.MethodGet, path, nil, map[string]string{"Range": "bytes=2000000-2000009"}})
		if err != nil || code != http.StatusPartialContent || !bytes.Equal(got, b[2000000:2000010]) || !strings.HasPrefix(head.Get("Content-Range"), "bytes 2000000-2000009/") {
			t.Fatalf("%s reads a range: %d, %d bytes, %v", name, code, len(got), err)
		}
	}

	// Nobody else does: not through her own server, not at ann's, not in bob's name.
	atOne, err := eve.client.Peer(one.identity)
	must(t, err)
	rogue, err := w.asHost(three, "rogue").Peer(one.identity)
	must(t, err)
	for name, try := range map[string]func() error{
		"eve through her server": func() error { _, _, _, err := do(w, eve.peer, plain{http.MethodGet, path, nil, nil}); return err },
		"eve at ann's server, for bob": func() error {
			_, _, _, err := do(w, atOne, plain{http.MethodGet, path + "&for=" + bob.address().String(), nil, nil})
			return err
		},
		"eve's server for bob": func() error {
			_, _, _, err := do(w, rogue, plain{http.MethodGet, path + "&for=" + bob.address().String(), nil, nil})
			return err
		},
		"eve's server for eve": func() error {
			_, _, _, err := do(w, rogue, plain{http.MethodGet, path + "&for=" + eve.address().String(), nil, nil})
			return err
		},
		"bob, of a message without a blob": func() error {
			other := ann.send(ann.letter("nothing attached", bob))
			_, _, _, err := do(w, bob.peer, plain{http.MethodGet, fmt.Sprintf("%s?from=%s&mid=%s", blobPath(id), other.From, other.MID), nil, nil})
			return err
		},
	} {
		if err := try(); message.CodeOf(err) != message.NotFound && message.CodeOf(err) != message.NeedBundle {
			t.Errorf("%s: %v", name, err)
		}
	}

	ann.send(ann.recall(h))
	if _, _, _, err := do(w, bob.peer, plain{http.MethodGet, path, nil, nil}); message.CodeOf(err) != message.NotFound {
		t.Fatalf("after the recall: %v", err)
	}
}

// TestBlobRefusals: what is wrong with an upload is said before its bytes count.
func TestBlobRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one", func(c *configs, _ *couriers) { c.Limits.Bytes = 1 << 20 })
	ann, eve := w.person("ann", one), w.stranger("eve")
	b, id := blobOf(t, 1000, 2)
	big, bigID := blobOf(t, 2<<20, 3)

	cases := []struct {
		name, path, span string
		body             []byte
		want             message.Code
	}{
		{"no range", blobPath(id), "", b, message.Invalid},
		{"a range of nothing", blobPath(id), "bytes 5-4/1000", b, message.Invalid},
		{"a range past the end", blobPath(id), "bytes 0-1000/1000", b, message.Invalid},
		{"a negative range", blobPath(id), "bytes -1-999/1000", b, message.Invalid},
		{"another length", blobPath(id), "bytes 0-998/1000", b, message.Invalid},
		{"a padded number", blobPath(id), "bytes 00-999/1000", b, message.Invalid},
		{"too large for any", blobPath(id), "bytes 0-999/2000000000000", b, message.TooLarge},
		{"too large for the account", blobPath(bigID), "bytes 0-2097151/2097152", big, message.Quota},
		{"no id", "/blobs/abc", "bytes 0-999/1000", b, message.Invalid},
		{"other bytes", blobPath(bigID), "bytes 0-999/1000", b, message.BadSignature},
	}
	for _, c := range cases {
		_, _, _, err := do(w, ann.peer, plain{http.MethodPut, c.path, c.body, map[string]string{"Content-Range": c.span}})
		if message.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	peer, err := eve.client.Peer(one.identity)
	must(t, err)
	_, _, _, err = do(w, peer, plain{http.MethodPut, blobPath(id), b, map[string]string{"Content-Range": "bytes 0-999/1000"}})
	refused(t, err, message.NeedBundle)
	_, _, _, err = do(w, ann.peer, plain{http.MethodDelete, blobPath(id), nil, nil})
	refused(t, err, message.Unsupported)
	if _, _, err := ann.put(id, b, 0, len(b)); err != nil {
		t.Fatal(err)
	}
}
