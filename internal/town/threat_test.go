package town_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// shared is a buffer that several goroutines write into.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestServersSeeNoText: what is private stands in no file and no log of a
// tracker or a mail server; logs name nobody in full.
func TestServersSeeNoText(t *testing.T) {
	t.Parallel()
	var log shared
	w := town.New(t, town.Keep(town.InFiles), town.LogTo(&log))
	one, two, ann, bob := pair(w)
	const canary = "canary-7b1f"
	path := filepath.Join(t.TempDir(), canary+"-name.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat(canary+"-attached ", 50_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := ann.Writes(client.Draft{Subject: canary + "-subject", Body: canary + "-body", Attach: []client.File{{Path: path}}}, "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, canary+"-body")
	ann.Edits(m, canary+"-edited")
	bob.Awaits(m, 2)
	bob.Reads(m, canary+"-edited")
	bob.Does("saves", func(ctx context.Context, c *client.Client) error {
		a, err := c.Attachment(ctx, m, "")
		if err == nil {
			_, err = c.Save(ctx, m, a, t.TempDir(), "")
		}
		return err
	})
	ann.AwaitsState(m, "bob", store.Fetched)
	one.Stop()
	two.Stop()
	files := 0
	for _, host := range []string{"hill", "one", "two"} {
		err := filepath.WalkDir(filepath.Join(w.Dir(), host), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			b, err := os.ReadFile(path)
			w.Check(!bytes.Contains(b, []byte(canary)), "%s has the text", path)
			return err
		})
		w.Check(err == nil, "looking into files: %v", err)
	}
	w.Check(files > 4, "only %d files were looked into", files)
	text := log.String()
	w.Check(len(text) > 0 && !strings.Contains(text, canary), "the logs have the text")
	if full := regexp.MustCompile(`ad1[a-z0-9]{40,}`).FindString(text); full != "" {
		for line := range strings.Lines(text) {
			if strings.Contains(line, full) {
				t.Errorf("a log names somebody in full: %s", line)
				break
			}
		}
	}
}

// TestQuota: an account keeps so much and no more; what is refused costs
// nothing, and what is taken back makes room.
func TestQuota(t *testing.T) {
	t.Parallel()
	each(t, func(_ *testing.T, w *town.Town) {
		w.Tracker("hill")
		one := w.Server("one", func(c *mailserver.Config) { c.Limits.Bytes = 200_000 })
		ann := w.Resident("ann", one)
		body := client.Draft{Body: strings.Repeat("so much to say ", 9_000)}
		first := ann.Writes(body)
		body.Public = true
		post := func(ctx context.Context, c *client.Client) error {
			_, err := c.Send(ctx, body)
			return err
		}
		ann.Refused(message.Quota, "writes more than fits", post)
		ann.Recalls(first)
		ann.Does("writes where there is room again", post)
	})
}

// TestWatchersAreCapped: one address holds so many watches open and no more.
func TestWatchersAreCapped(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one", func(c *mailserver.Config) { c.Limits.WatchersPerAddress = 2 })
	ann := w.Resident("ann", one)
	if w.Failed() {
		return
	}
	asks := ann.Asks()
	defer asks.Close()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	peer, _, err := asks.Open(ctx, one.Reference())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		stream, err := peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{})
		if err == nil && !stream.Receive() {
			err = stream.Err()
		}
		if refused := message.CodeOf(err) == message.RateLimited; refused != (n == 2) || !refused && err != nil {
			t.Errorf("watch %d: %v", n+1, err)
		}
	}
}

// TestRestoredServer: a server that was set back to an older state begins a new
// epoch; its people read it from the beginning and lose nothing that they had.
func TestRestoredServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *town.Town) {
		_, two, ann, bob := pair(w)
		before := ann.Send("before", "bob")
		bob.Awaits(before, 1)
		bob.Reads(before, "before")
		w.Check(two.Mail().Log.RaiseEpoch(t.Context()) == nil, "raise the epoch")
		after := ann.Send("after", "bob")
		bob.Awaits(after, 1)
		bob.Reads(after, "after")
		bob.Reads(before, "before")
	})
}

// handshake is a TLS connection to a host by somebody who checks nothing.
func handshake(t *testing.T, w *town.Town, h *town.Host, protocol string) *tls.Conn {
	t.Helper()
	raw, err := w.Dial(t.Context(), "somebody", h)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestTransportIsPostQuantum: a recorded connection tells nothing to whoever
// has a quantum computer later.
func TestTransportIsPostQuantum(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	hill := w.Tracker("hill")
	for _, h := range []*town.Host{hill, w.Server("one")} {
		s := handshake(t, w, h, "h2").ConnectionState()
		if s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519MLKEM768 {
			t.Errorf("version %x, key exchange %s", s.Version, s.CurveID)
		}
	}
}

// TestBlobsAreNoPages: a browser that is led to an attachment is given bytes to
// save, and nothing to run.
func TestBlobsAreNoPages(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann := w.Resident("ann", one)
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte("<script>alert(1)</script>"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := ann.Writes(client.Draft{Body: "see", Attach: []client.File{{Path: path}}})
	if w.Failed() {
		return
	}
	var blob string
	ann.Does("looks", func(ctx context.Context, c *client.Client) error {
		a, err := c.Attachment(ctx, m, "")
		blob = a.Blob.String()
		return err
	})
	c := handshake(t, w, one, "http/1.1")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://one.town/blobs/"+blob+"?from="+m.From.String()+"&mid="+m.MID.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Write(c); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", response.Status, err)
	}
	if bytes.Contains(body, []byte("script")) {
		t.Error("it is not sealed")
	}
	if got := response.Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("its type is %q", got)
	}
	if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("sniffing: %q", got)
	}
}
