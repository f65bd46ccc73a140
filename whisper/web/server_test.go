package web_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"airdispatch/whisper"
	"airdispatch/whisper/web"
)

// TestMain fails when a test leaves a goroutine behind.
// One of net/http is let be: after an answer to an unfinished request it waits half a
// second before it closes, longer than goleak looks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// patience bounds every wait; nothing waits so long where all is well.
const patience = 60 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs a node and its page until the test ends.
func serve(t *testing.T, nick string) (node *whisper.Node, base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	node, err = whisper.New(whisper.Config{Nick: nick, Addr: l.Addr().String(), Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx, l) }()
	h := httptest.NewUnstartedServer(nil)
	s := web.New(node, h.Listener.Addr().String())
	h.Config.Handler = s
	h.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	h.Start()
	t.Cleanup(func() {
		cancel()
		h.CloseClientConnections()
		h.Close()
		s.Wait()
		must(t, <-ran)
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:errcheck
	})
	return node, h.URL
}

// hostile is what somebody might say.
const hostile = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'">`

// TestPageIsText: what strangers wrote is text in the page, with what does not
// show itself as its number, and no script runs but the page's own.
func TestPageIsText(t *testing.T) {
	t.Parallel()
	node, base := serve(t, "ann")
	must(t, node.Say(hostile+"\x1b[31m\u202e"))
	r, err := http.Get(base + "/")
	must(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	must(t, err)
	text := string(b)
	for _, bad := range []string{"<script>document", "<img", "\x1b", "\u202e", "onclick=", "style="} {
		if strings.Contains(text, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if !strings.Contains(text, "&lt;script&gt;") || !strings.Contains(text, "&lt;U&#43;001B&gt;[31m&lt;U&#43;202E&gt;") {
		t.Errorf("the message is not there as text:\n%s", text)
	}
	csp := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}
}

// TestPageIsOfThisHost: other names and pages from elsewhere get nothing.
func TestPageIsOfThisHost(t *testing.T) {
	t.Parallel()
	node, base := serve(t, "ann")
	ask := func(method, path string, change func(*http.Request)) int {
		t.Helper()
		body := strings.NewReader(url.Values{"body": {"said"}, "do": {"connect"}, "addr": {"127.0.0.1:1"}}.Encode())
		r, err := http.NewRequest(method, base+path, body)
		must(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(r)
		res, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		must(t, res.Body.Close())
		return res.StatusCode
	}
	rebound := func(r *http.Request) { r.Host = "evil.example" }
	foreign := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	origin := func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }
	upgrade := func(r *http.Request) {
		origin(r)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	}
	for _, c := range []struct {
		what, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"a name bound anew", "GET", "/", rebound, 421},
		{"a name bound anew", "GET", "/live", rebound, 421},
		{"a name bound anew", "POST", "/say", rebound, 421},
		{"a form elsewhere", "POST", "/say", foreign, 403},
		{"a form elsewhere", "POST", "/peers", foreign, 403},
		{"a script elsewhere", "POST", "/say", origin, 403},
		{"a socket elsewhere", "GET", "/live", upgrade, 403},
		{"a link", "GET", "/say", foreign, 405},
		{"its own page", "GET", "/", func(*http.Request) {}, 200},
		{"its own script", "GET", "/page/live.js", func(*http.Request) {}, 200},
	} {
		if got := ask(c.method, c.path, c.change); got != c.want {
			t.Errorf("%s: %s %s answers %d, want %d", c.what, c.method, c.path, got, c.want)
		}
	}
	if len(node.Recent(10)) != 0 || len(node.Peers()) != 0 {
		t.Errorf("somebody else acted: %v, %v", node.Recent(10), node.Peers())
	}
}

// TestLive: what is said comes by itself, and what the forms do is done.
func TestLive(t *testing.T) {
	t.Parallel()
	node, base := serve(t, "ann")
	must(t, node.Say("before"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(base, "http")+"/live", nil)
	must(t, err)
	defer conn.CloseNow()
	next := func(kind string) string {
		t.Helper()
		for {
			_, b, err := conn.Read(ctx)
			must(t, err)
			var o map[string]json.RawMessage
			must(t, json.Unmarshal(b, &o))
			if v, ok := o[kind]; ok {
				return string(v)
			}
		}
	}
	if got := next("line"); !strings.Contains(got, `"body":"before"`) {
		t.Errorf("got %s", got)
	}
	post := func(path string, fields url.Values) {
		t.Helper()
		r, err := http.PostForm(base+path, fields)
		must(t, err)
		must(t, r.Body.Close())
		if r.StatusCode != 200 {
			t.Errorf("%s %v answers %d", path, fields, r.StatusCode)
		}
	}
	post("/say", url.Values{"body": {"/me waves"}})
	if got := next("line"); !strings.Contains(got, `"action":true,"own":true,"body":"waves"`) {
		t.Errorf("got %s", got)
	}
	other, _ := serve(t, "bob")
	post("/peers", url.Values{"do": {"connect"}, "addr": {other.Addr()}})
	for got := ""; !strings.Contains(got, `"`+other.Addr()+`","up":true`); {
		got = next("peers")
	}
	post("/peers", url.Values{"do": {"block"}, "addr": {other.Addr()}})
	for got := "x"; got != "[]"; {
		got = next("peers")
	}
}
