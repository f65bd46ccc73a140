package web

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"airdispatch/message"
	"airdispatch/whisper"
)

// files are the page, its style and its script.
//
//go:embed page
var files embed.FS

// page is the page as it is before anything moves.
var page = template.Must(template.ParseFS(files, "page/index.html"))

// The bounds of what a browser may cost.
const (
	maxForm    = whisper.MaxBody + 4096
	maxLive    = 16
	shown      = 100
	writeTime  = 5 * time.Second
	peersEvery = time.Second
)

// policy lets a page load its own files and talk to where it came from, and
// nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Server is the web interface of one node.
type Server struct {
	node  *whisper.Node
	hosts []string
	inner http.Handler
	// live counts connections that move the page; room bounds them.
	live sync.WaitGroup
	room chan struct{}
}

// New makes the interface of a node, which answers under these host:ports only.
func New(node *whisper.Node, hosts ...string) *Server {
	s := &Server{node: node, hosts: hosts, room: make(chan struct{}, maxLive)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /peers", s.peers)
	mux.HandleFunc("GET /live", s.follow)
	mux.HandleFunc("POST /say", s.say)
	mux.HandleFunc("POST /peers", s.change)
	static, err := fs.Sub(files, "page")
	if err == nil { // the directory is embedded above
		mux.Handle("GET /page/", http.StripPrefix("/page/", http.FileServerFS(static)))
	}
	s.inner = http.NewCrossOriginProtection().Handler(mux)
	return s
}

// Wait returns when no page is followed any more; the contexts of their requests
// must have ended.
func (s *Server) Wait() { s.live.Wait() }

// ServeHTTP answers what comes under one of the server's names.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !slices.Contains(s.hosts, r.Host) {
		http.Error(w, "not under this name", http.StatusMisdirectedRequest)
		return
	}
	s.inner.ServeHTTP(w, r)
}

// line is a message as the page shows it.
type line struct {
	Who    string `json:"who"`
	Proof  string `json:"proof,omitempty"`
	Forged bool   `json:"forged,omitempty"`
	// Changed is a signature of an identity that is known by other keys.
	Changed bool   `json:"changed,omitempty"`
	Action  bool   `json:"action,omitempty"`
	Own     bool   `json:"own,omitempty"`
	Body    string `json:"body"`
	Time    string `json:"time,omitempty"`
	File    string `json:"file,omitempty"`
}

// neighbour is a peer as the page shows it.
type neighbour struct {
	Addr string `json:"addr"`
	Up   bool   `json:"up"`
	Ours bool   `json:"ours"`
}

// index is the page.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v := struct {
		Nick, Addr string
		Lines      []line
		Peers      []neighbour
	}{Nick: visible(s.node.Nick()), Addr: s.node.Addr(), Peers: s.neighbours()}
	for _, m := range s.node.Recent(shown) {
		v.Lines = append(v.Lines, lineOf(m))
	}
	_ = page.Execute(w, v) // the browser has gone
}

// peers is the list of the predecessor: addresses alone.
func (s *Server) peers(w http.ResponseWriter, _ *http.Request) {
	all := []string{}
	for _, p := range s.node.Peers() {
		all = append(all, p.Addr)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string][]string{"peers": all}) // as above
}

// say says what a form says.
func (s *Server) say(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := s.node.Say(r.PostFormValue("body")); err != nil {
		http.Error(w, strings.TrimPrefix(err.Error(), "whisper: "), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// change connects, disconnects or blocks a peer.
func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	addr := r.PostFormValue("addr")
	var err error
	switch what := r.PostFormValue("do"); what {
	case "connect":
		err = s.node.Connect(addr)
	case "disconnect":
		s.node.Disconnect(addr)
	case "block":
		s.node.Block(addr)
	default:
		err = fmt.Errorf("do what? connect, disconnect or block")
	}
	if err != nil {
		http.Error(w, strings.TrimPrefix(err.Error(), "whisper: "), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// follow sends what is said, and the peers when they change, until the browser
// goes or is too slow.
func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	s.live.Add(1)
	defer s.live.Done()
	conn, err := websocket.Accept(w, r, nil) // it compares the origin with the host
	if err != nil {
		return
	}
	defer conn.CloseNow() // there is nobody to tell
	ctx := conn.CloseRead(r.Context())
	ear, before := s.node.Hear(shown)
	defer ear.Close()
	for _, m := range before {
		if send(ctx, conn, "line", lineOf(m)) != nil {
			return
		}
	}
	tick := time.NewTicker(peersEvery)
	defer tick.Stop()
	var last []neighbour
	for first := true; ; first = false {
		if now := s.neighbours(); first || !slices.Equal(now, last) {
			if last = now; send(ctx, conn, "peers", now) != nil {
				return
			}
		}
		select {
		case m := <-ear.C:
			if send(ctx, conn, "line", lineOf(m)) != nil {
				return
			}
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// send writes one object.
func send(ctx context.Context, conn *websocket.Conn, kind string, v any) error {
	b, err := json.Marshal(map[string]any{kind: v})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, b)
}

func (s *Server) neighbours() []neighbour {
	out := []neighbour{}
	for _, p := range s.node.Peers() {
		out = append(out, neighbour{visible(p.Addr), p.Up, p.Ours})
	}
	return out
}

// lineOf is a message as the page shows it.
func lineOf(m whisper.Message) line {
	l := line{Who: visible(m.Nick), Proof: m.From, Forged: m.Forged, Changed: m.Changed, Own: m.Own}
	if m.Name != "" {
		l.Proof = visible(m.Name) + ", " + m.From
	}
	if strings.TrimSpace(l.Who) == "" {
		l.Who = visible(m.Addr)
	}
	l.Body, l.Action = strings.CutPrefix(visible(m.Body), "/me ")
	if len(m.File) > 0 {
		l.File = fmt.Sprintf("%s, %d bytes", visible(m.FileType), len(m.File))
	}
	if m.Timestamp > 0 && m.Timestamp < 1e11 {
		l.Time = time.Unix(m.Timestamp, 0).Format("15:04")
	}
	return l
}

// visible shows what does not show itself as its number.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case message.Visible(r):
			b.WriteRune(r)
		default:
			_, _ = fmt.Fprintf(&b, "<U+%04X>", r)
		}
	}
	return b.String()
}
