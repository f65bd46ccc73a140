package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

func roomRows() []row {
	return []row{
		{"W1", "objects that are none, too large or too deep end no peer and reach nobody", roomKillers},
		{"W2", "neighbours that take nothing hold up nobody", roomWedge},
		{"W3", "an address of another host in an object or a datagram makes nobody knock there", roomKnocking},
		{"W4", "thousands of messages under thousands of names fill no memory", roomMemory},
		{"W5", "a flood costs its author the connection and a place on the blacklist, and a burst of twenty does not", roomFlood},
		{"W6", "a signature that is none, or somebody else's, is said to be false, and gives nobody a name", roomForgery},
		{"W7", "an old peer gets the original format and nothing else, and nothing before somebody says something", roomOldPeer},
		{"W8", "what would command a terminal or run in a page is shown as text", roomDeceit},
		{"W9", "pages of other origins and under other names can do nothing", roomPages},
		{"W10", "files are saved under harmless names, and never over another", roomFiles},
	}
}

// chatter is adctl in a room, until ctx ends.
func (t *town) chatter(ctx context.Context, nick string, flags ...string) (p *program, at string, err error) {
	if at, err = free(); err != nil {
		return nil, "", err
	}
	p, err = t.begin("adctl", append([]string{"whisper", "--nick", nick, "--listen", at}, flags...)...)
	if err != nil {
		return nil, "", err
	}
	context.AfterFunc(ctx, p.kill)
	return p, at, p.awaits(ctx, "listening "+at)
}

// stranger is a connection to a peer by somebody who writes objects by hand, from an
// address of this machine.
func stranger(ctx context.Context, at, from string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp", at)
}

// beset is bob in a room, and the connection of a stranger to him, until ctx ends.
func (t *town) beset(ctx context.Context, flags ...string) (bob *program, at string, c net.Conn, err error) {
	if bob, at, err = t.chatter(ctx, "bob", flags...); err != nil {
		return nil, "", nil, err
	}
	if c, err = stranger(ctx, at, "127.0.0.1"); err != nil {
		return nil, "", nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return bob, at, c, nil
}

// said is an object as old peers write it.
func said(id, addr, nick, body string, more ...string) []byte {
	o := map[string]any{"ID": id, "Addr": addr, "Body": body, "omitempty": nick, "Timestamp": time.Now().Unix()}
	for n := 0; n+1 < len(more); n += 2 {
		o[more[n]] = more[n+1]
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings can be written
	}
	return append(b, '\n')
}

// hearsOf is the control: what somebody says now arrives. It is said again where it does not, for who has too
// much to show leaves some of it out.
func (p *program) hearsOf(ctx context.Context, f *findings, at, word string) {
	var err error
	for range 8 {
		var c net.Conn
		if c, err = stranger(ctx, at, "127.0.0.1"); err == nil {
			_, err = c.Write(said(fmt.Sprintf("%x", random(8)), "127.0.0.1:9", "honest", word))
		}
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, 4*time.Second)
			err = p.awaits(limited, word)
			cancel()
		}
		if c != nil {
			_ = c.Close()
		}
		if err == nil || ctx.Err() != nil || !p.lives() {
			break
		}
	}
	f.must(err == nil && p.lives(), "the control: %q does not arrive: %v", word, err)
}

func roomKillers(ctx context.Context, t *town) error {
	var f findings
	bob, at, err := t.chatter(ctx, "bob", "--json")
	if err != nil {
		return err
	}
	var many strings.Builder
	for n := range 50_000 { // of one name several would be one
		fmt.Fprintf(&many, `"x%d":1,`, n)
	}
	for name, b := range map[string]string{
		"no object": "hello there", "half an object": `{"ID":"a","Body":"half`, "deep": strings.Repeat(`{"a":[`, 200_000), "an array": `["ID"]`, "numbers": `{"ID":7,"Body":{"x":1},"Addr":[],"Timestamp":"now"}`,
		"too large": `{"ID":"big","Body":"` + strings.Repeat("x", 2<<20) + `"}`, "no body": `{"ID":"nobody","Addr":"127.0.0.1:1"}`, "null": "null\x00\x00{}", "a number out of bounds": `{"ID":"n","Body":"never shown","Timestamp":1e999}`,
		"many members": `{"ID":"m","Body":"never shown",` + many.String() + `"y":2}`, "not UTF-8": "{\"ID\":\"u\",\"Body\":\"\xff\xfe\"}", "a kind that is none": `{"Whisper":{"Kind":"want","IDs":7}}`,
	} {
		c, err := stranger(ctx, at, "127.0.0.1")
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, b) // the connection may be closed meanwhile
		_ = c.Close()
	}
	bob.hearsOf(ctx, &f, at, "after all of it")
	f.must(!bytes.Contains(bob.out.bytes(), []byte("never shown")) && !bytes.Contains(bob.out.bytes(), []byte("xxxx")), "shown: %.300q", bob.out.bytes())
	return f.all()
}

// mouth is a place at which an old peer would listen; it counts who comes, and reads
// what they say where it reads at all.
type mouth struct {
	net.Listener
	at    string
	heard recording

	mu   sync.Mutex
	came int
}

func (t *town) mouth(at string, reads bool) (*mouth, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	m := &mouth{Listener: l, at: l.Addr().String()}
	t.ends(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.came++
			m.mu.Unlock()
			t.ends(func() { _ = c.Close() })
			if reads {
				go func() { _, _ = io.Copy(&m.heard, c) }() // until it is closed
			}
		}
	}()
	return m, nil
}

func (m *mouth) visitors() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.came
}

// introduces has an old peer say something, so that it is dialled.
func introduces(ctx context.Context, at, addr, word string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := stranger(ctx, at, host)
	if err == nil {
		_, err = c.Write(said(fmt.Sprintf("%x", random(8)), addr, "old", word))
	}
	return c, err
}

func roomWedge(ctx context.Context, t *town) error {
	var f findings
	_, cold, err := t.chatter(ctx, "cold") // nobody speaks there
	if err != nil {
		return err
	}
	bob, at, err := t.chatter(ctx, "bob", "--peer", cold, "--peer", "127.0.0.1:9", "--peer", "192.0.2.1:9")
	if err != nil {
		return err
	}
	for n := range 8 {
		deaf, err := t.mouth("127.0.0.1:0", false)
		if err != nil {
			return err
		}
		c, err := introduces(ctx, at, deaf.at, fmt.Sprintf("deaf %d", n))
		if err != nil {
			return err
		}
		defer c.Close()
		f.fine(until(ctx, "a neighbour that takes nothing", func() bool { return deaf.visitors() > 0 }), "deaf")
	}
	good, err := t.mouth("127.0.0.1:0", true)
	if err != nil {
		return err
	}
	c, err := introduces(ctx, at, good.at, "a good one")
	if err != nil {
		return err
	}
	defer c.Close()
	f.fine(until(ctx, "a good neighbour", func() bool { return good.visitors() > 0 }), "good")
	begun := time.Now()
	for n := range 40 { // more than the queues of those who take nothing
		if _, err := fmt.Fprintf(bob.in, "line %d %s\n", n, strings.Repeat("x", 15_000)); err != nil {
			return err
		}
	}
	f.fine(until(ctx, "the last line", func() bool { return bytes.Contains(good.heard.bytes(), []byte("line 39 ")) }), "the control")
	f.must(time.Since(begun) < 25*time.Second, "it took %s", time.Since(begun))
	for n := range 40 {
		f.must(bytes.Contains(good.heard.bytes(), fmt.Appendf(nil, `"line %d `, n)), "line %d is missing", n)
	}
	// The other peer of our kind dials it too, and says all of it as well.
	f.must(bytes.Count(good.heard.bytes(), []byte("line ")) <= 40*good.visitors(), "%d lines of 40 at %d connections", bytes.Count(good.heard.bytes(), []byte("line ")), good.visitors())
	return f.all()
}

func roomKnocking(ctx context.Context, t *town) error {
	var f findings
	udp, err := free()
	if err != nil {
		return err
	}
	bob, _, c, err := t.beset(ctx, "--discover", udp)
	if err != nil {
		return err
	}
	mine, err := t.mouth("127.0.0.1:0", false)
	if err != nil {
		return err
	}
	found, err := t.mouth("127.0.0.1:0", false)
	if err != nil {
		return err
	}
	d, err := net.Dial("udp", udp)
	if err != nil {
		return err
	}
	defer d.Close()
	victims := []string{"10.255.255.1:9", "192.168.255.1:80", "169.254.1.1:80", "[fd00::1]:9", "[fe80::1]:9", "100.64.0.1:9"}
	for n, victim := range victims {
		_, _ = c.Write(said(fmt.Sprintf("knock%d", n), victim, "knock", fmt.Sprintf("come %d", n)))
		_, _ = fmt.Fprintf(c, `{"Whisper":{"Kind":"hello","Addr":%q,"Know":[%q]}}`, victim, victim)
		_, _ = fmt.Fprintf(c, `{"Whisper":{"Kind":"have","IDs":[],"Know":[%q]}}{"Whisper":{"Kind":"part","Know":[%q]}}`, victim, victim)
		_, _ = d.Write([]byte(victim))
	}
	_, _ = d.Write([]byte(found.at))
	_, _ = c.Write(said("mine", mine.at, "mine", "this is where I am"))
	f.fine(until(ctx, "the sender's own addresses", func() bool { return mine.visitors() > 0 && found.visitors() > 0 }), "the control")
	if _, err := io.WriteString(bob.in, "/peers\n"); err != nil {
		return err
	}
	f.fine(bob.awaits(ctx, mine.at), "the control: whom it dials")
	for _, victim := range victims {
		f.must(!bytes.Contains(bob.said.bytes(), []byte(victim)), "it knocks at %s, because somebody else said so: %s", victim, bob.said.bytes())
	}
	return f.all()
}

func roomMemory(ctx context.Context, t *town) error {
	var f findings
	bob, at, err := t.chatter(ctx, "bob", "--json")
	if err != nil {
		return err
	}
	before, err := memoryOf(bob.cmd.Process.Pid)
	if err != nil {
		return err
	}
	body := strings.Repeat("y", 8<<10)
	var all sync.WaitGroup
	for n := range 60 {
		c, err := stranger(ctx, at, "127.0.0.1")
		if err != nil {
			return err
		}
		defer c.Close()
		all.Go(func() {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			for k := range 150 {
				if _, err := c.Write(said(fmt.Sprintf("%d of %d", k, n), fmt.Sprintf("10.%d.0.%d:7", n, k), fmt.Sprintf("name %d", k), body)); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	bob.hearsOf(ctx, &f, at, "after all of them")
	mib, err := memoryOf(bob.cmd.Process.Pid)
	f.must(err == nil && mib < before+150, "%d MiB, before %d, %v", mib, before, err)
	f.must(bytes.Count(bob.out.bytes(), []byte("\n")) > 500, "the control: only %d messages arrived", bytes.Count(bob.out.bytes(), []byte("\n")))
	return f.all()
}

func roomFlood(ctx context.Context, t *town) error {
	var f findings
	bob, at, err := t.chatter(ctx, "bob")
	if err != nil {
		return err
	}
	calm, err := stranger(ctx, at, "127.0.0.6")
	if err != nil {
		return err
	}
	defer calm.Close()
	for n := range 20 {
		_, _ = calm.Write(said(fmt.Sprintf("calm%d", n), "127.0.0.6:7", "calm", fmt.Sprintf("calm %d.", n)))
	}
	f.fine(bob.awaits(ctx, "calm 19."), "a burst of twenty")
	wild, err := stranger(ctx, at, "127.0.0.5")
	if err != nil {
		return err
	}
	defer wild.Close()
	for n := range 2000 {
		if _, err := wild.Write(said(fmt.Sprintf("wild%d", n), "127.0.0.5:7", "wild", fmt.Sprintf("wild %d.", n))); err != nil {
			break
		}
	}
	_ = wild.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err = wild.Read(make([]byte, 1))
	var late net.Error
	f.must(!errors.As(err, &late) || !late.Timeout(), "the flood is still listened to")
	again, err := stranger(ctx, at, "127.0.0.5")
	if err == nil {
		defer again.Close()
		_, _ = again.Write(said("again", "127.0.0.5:7", "wild", "wild again"))
	}
	_, _ = calm.Write(said("calm after", "127.0.0.6:7", "calm", "calm after"))
	f.fine(bob.awaits(ctx, "calm after"), "who was calm, after the flood")
	shown := bytes.Count(bob.out.bytes(), []byte("wild "))
	f.must(shown >= 20 && shown < 200 && !bytes.Contains(bob.out.bytes(), []byte("wild again")), "of the flood %d were shown", shown)
	return f.all()
}

func roomForgery(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	bob, at, err := t.chatter(ctx, "bob", "--json")
	if err != nil {
		return err
	}
	signer, _, err := t.chatter(ctx, "ann", "--peer", at, "--sign", "--home", ann.dir)
	if err != nil {
		return err
	}
	signed := []byte(`"from":"` + ann.address.String() + `"`)
	// Until both know each other for their kind, nothing but the original format goes over.
	f.fine(until(ctx, "a signature", func() bool {
		_, err := io.WriteString(signer.in, "truly mine\n")
		return err != nil || bytes.Contains(bob.out.bytes(), signed)
	}), "the control: who signed is not shown")
	chain, err := proto.Marshal(&wirev1.Identity{Cards: ann.keys.Chain.Signed(0)})
	if err != nil {
		return err
	}
	c, err := stranger(ctx, at, "127.0.0.1")
	if err != nil {
		return err
	}
	defer c.Close()
	signer.kill() // what was under way is shown by the next words at the latest
	bob.hearsOf(ctx, &f, at, "after the true ones")
	before := bytes.Count(bob.out.bytes(), []byte(`"from"`))
	for n, signature := range [][]byte{append(ann.keys.Signer.Public().Bytes(), random(64)...), random(97), nil} {
		o := map[string]any{"ID": fmt.Sprintf("forged%d", n), "Addr": "127.0.0.1:7", "Nick": "ann", "Body": fmt.Sprintf("forged %d.", n), "Timestamp": time.Now().Unix(),
			"Whisper": map[string]any{"Chain": base64.StdEncoding.EncodeToString(chain), "Signature": base64.StdEncoding.EncodeToString(signature)}}
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := c.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	if _, err := c.Write(said("plain", "127.0.0.1:7", ann.address.String(), "plain and not signed")); err != nil {
		return err
	}
	f.fine(bob.awaits(ctx, "plain and not signed"), "the control")
	f.must(bytes.Count(bob.out.bytes(), []byte(`"from"`)) == before, "a false signature gave a name: %s", bob.out.bytes())
	f.must(bytes.Count(bob.out.bytes(), []byte(`"forged":true`)) >= 2, "false signatures are not said to be: %s", bob.out.bytes())
	return f.all()
}

func roomOldPeer(ctx context.Context, t *town) error {
	var f findings
	ann, at, err := t.chatter(ctx, "ann")
	if err != nil {
		return err
	}
	old, err := t.mouth("127.0.0.1:0", true)
	if err != nil {
		return err
	}
	// It is in the room by ann's own wish, and has said nothing.
	if _, err := fmt.Fprintf(ann.in, "/connect %s\n", old.at); err != nil {
		return err
	}
	f.fine(until(ctx, "a connection", func() bool { return old.visitors() > 0 }), "the control")
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	f.must(len(old.heard.bytes()) == 0, "an old peer got %q before anybody spoke", old.heard.bytes())
	cat, _, err := t.chatter(ctx, "cat", "--peer", at)
	if err != nil {
		return err
	}
	for who, p := range map[string]*program{"ann": ann, "cat": cat} {
		if _, err := fmt.Fprintf(p.in, "words of %s\n", who); err != nil {
			return err
		}
		f.fine(until(ctx, "the words of "+who, func() bool { return bytes.Contains(old.heard.bytes(), []byte("words of "+who)) }), "the control")
	}
	allowed := map[string]bool{"ID": true, "Addr": true, "Body": true, "omitempty": true, "Nick": true, "Timestamp": true}
	for from := json.NewDecoder(bytes.NewReader(old.heard.bytes())); ; {
		var o map[string]any
		if err := from.Decode(&o); err != nil {
			f.must(errors.Is(err, io.EOF), "not objects: %v in %q", err, old.heard.bytes())
			break
		}
		for member := range o {
			f.must(allowed[member], "an old peer got the member %s", member)
		}
	}
	return f.all()
}

func roomDeceit(ctx context.Context, t *town) error {
	var f findings
	page, err := free()
	if err != nil {
		return err
	}
	bob, at, c, err := t.beset(ctx, "--http", page)
	if err != nil {
		return err
	}
	const evil = "\x1b]0;owned\a\x1b[2J\r\u202eevil\u200b\u0007<script>alert(1)</script><img src=x onerror=alert(2)>"
	_, _ = c.Write(said("deceit1", "127.0.0.1:7", "nick"+evil, "body"+evil))
	bob.hearsOf(ctx, &f, at, "shown after it")
	for _, b := range []string{"\x1b", "\a", "\r", "\u202e", "\u200b"} {
		f.must(!bytes.Contains(bob.out.bytes(), []byte(b)) && !bytes.Contains(bob.said.bytes(), []byte(b)), "%q reached the terminal", b)
	}
	f.must(bytes.Contains(bob.out.bytes(), []byte("<script>")), "the control: the message is not there: %q", bob.out.bytes())
	status, b, err := t.get(ctx, "http://"+page+"/")
	f.must(err == nil && status == http.StatusOK && bytes.Contains(b, []byte("&lt;script&gt;")), "the control: the page has not the message: %d, %v", status, err)
	f.must(!bytes.Contains(b, []byte("<script>alert")) && !bytes.Contains(b, []byte("<img src=x")), "the page has it as it is")
	res, err := http.Get("http://" + page + "/")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	policy := res.Header.Get("Content-Security-Policy")
	f.must(strings.Contains(policy, "default-src 'none'") && !strings.Contains(policy, "unsafe"), "the policy is %q", policy)
	return f.all()
}

func roomPages(ctx context.Context, t *town) error {
	var f findings
	page, err := free()
	if err != nil {
		return err
	}
	bob, _, err := t.chatter(ctx, "bob", "--http", page)
	if err != nil {
		return err
	}
	ask := func(method, path, host, origin, body string) int {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+page+path, strings.NewReader(body))
		if err != nil {
			return 0
		}
		req.Host = host
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			req.Header.Set("Origin", origin)
			req.Header.Set("Sec-Fetch-Site", map[bool]string{true: "same-origin", false: "cross-site"}[origin == "http://"+page])
		}
		res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct{ method, path, host, origin string }{
		{"GET", "/", "evil.example", ""}, {"GET", "/peers", "evil.example:80", ""}, {"POST", "/say", page, "http://evil.example"}, {"POST", "/peers", page, "http://evil.example"}, {"POST", "/say", "evil.example", "http://evil.example"}, {"POST", "/say", page, "null"},
	} {
		if got := ask(c.method, c.path, c.host, c.origin, "body=said+by+another+page"); got < 400 {
			f.must(false, "%v: answered with %d", c, got)
		}
	}
	for origin, want := range map[string]bool{"http://evil.example": false, "http://" + page: true} {
		ws, _, err := websocket.Dial(ctx, "ws://"+page+"/live", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if err == nil {
			_ = ws.CloseNow()
		}
		f.must((err == nil) == want, "a page of %s follows: %v", origin, err)
	}
	f.must(ask("POST", "/say", page, "http://"+page, "body=said+by+its+own") < 400, "the control: its own page cannot speak")
	f.must(!bytes.Contains(bob.out.bytes(), []byte("another page")), "another page has spoken")
	return f.all()
}

func roomFiles(ctx context.Context, t *town) error {
	var f findings
	dir := filepath.Join(t.dir, "files", "room", "here")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mine := filepath.Join(dir, "mine.txt")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		return err
	}
	bob, at, c, err := t.beset(ctx, "--files", dir)
	if err != nil {
		return err
	}
	for n, name := range []string{"../../outside.txt", "/tmp/outside.txt", "..", "mine.txt", ".hidden", "a\x00b", "con\u202etxt.exe", strings.Repeat("long", 200), "honest.txt"} {
		_, _ = c.Write(said(fmt.Sprintf("file%d", n), "127.0.0.1:7", "filer", name, "FileType", "text/plain", "FileContents", base64.StdEncoding.EncodeToString([]byte("evil"))))
	}
	f.fine(until(ctx, "the last file", func() bool { _, err := os.Stat(filepath.Join(dir, "honest.txt")); return err == nil }), "the control")
	bob.hearsOf(ctx, &f, at, "after the files")
	b, err := os.ReadFile(mine)
	f.must(err == nil && string(b) == "mine", "a file is now %q, %v", b, err)
	outside, err := os.ReadDir(filepath.Dir(dir))
	f.must(err == nil && len(outside) == 1, "outside: %v, %v", outside, err)
	inside, err := os.ReadDir(dir)
	for _, e := range inside {
		f.must(!strings.HasPrefix(e.Name(), ".") && !strings.ContainsAny(e.Name(), "\x00\u202e/") && len(e.Name()) < 200, "a file is called %q", e.Name())
	}
	f.must(err == nil && len(inside) > 2, "the control: %d files, %v", len(inside), err)
	return f.all()
}
