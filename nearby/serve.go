package nearby

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// maxHeader bounds the headers of requests and answers.
	maxHeader = 16 << 10
	// answerWithin is how long a peer may take to begin an answer.
	answerWithin = 10 * time.Second
	// idleFor is how long a connection may be silent between requests.
	idleFor = time.Minute
	// drain is how long what is open may take to end when the node stops.
	drain = 3 * time.Second
	// maxListed is how many peers others are told of.
	maxListed = 256
	// maxLetter bounds a letter with its history.
	maxLetter = message.MaxCall
)

// Serve answers peers until ctx ends, and then says that it stops for as long as sessions need to end.
func (n *Node) Serve(ctx context.Context, l net.Listener) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	sessions, endSessions := context.WithCancel(running)
	defer endSessions()
	d := newDoor(running, l)
	servers := []*http.Server{n.server(running, n.plain(sessions))}
	listeners := []net.Listener{d.plain}
	if n.c.Keyring != nil {
		d.tls = n.serverTLS()
		servers = append(servers, n.server(running, n.secure(sessions)))
		listeners = append(listeners, d.secure)
	}
	ended := make(chan error, len(servers))
	for i, s := range servers {
		go func() { ended <- s.Serve(listeners[i]) }()
	}
	accepted := make(chan error, 1)
	go func() { accepted <- d.accept() }()
	var errs []error
	select {
	case err := <-accepted:
		errs = append(errs, err)
		accepted <- nil
	case <-ctx.Done():
	}
	n.stopping.Store(true)
	endSessions()
	within, cancel := context.WithTimeout(running, drain)
	defer cancel()
	n.lives.end()
	n.sessions.wait(within)
	errs = append(errs, closed(d.Close()), closed(<-accepted))
	stop()
	for _, s := range servers {
		errs = append(errs, closed(s.Close()))
	}
	for range servers {
		errs = append(errs, closed(<-ended))
	}
	d.wait()
	return errors.Join(errs...)
}

// closed makes the end that was wanted no error.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (n *Node) server(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: answerWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: withState,
		ErrorLog: quiet(n.log),
	}
}

// plain is what peers of P2P v0.4 know.
func (n *Node) plain(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", n.ping)
	mux.HandleFunc("GET /peers", n.peers)
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) { n.chat(ctx, w, r) })
	return mux
}

// secure is what peers of our kind know besides.
func (n *Node) secure(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", n.plain(ctx))
	mux.HandleFunc("GET /cards", n.cards)
	mux.HandleFunc("PUT /cards", n.takeCards)
	mux.HandleFunc("POST /letters", n.takeLetter)
	mux.HandleFunc("GET /files", n.listFiles)
	mux.HandleFunc("GET /files/{hash}", n.sendFile)
	mux.HandleFunc("GET "+connectionPath, n.take)
	return mux
}

// ping says whether the node is there; a peer of our kind also hears whether its cards are known.
func (n *Node) ping(w http.ResponseWriter, r *http.Request) {
	if n.refuseStopping(w) {
		return
	}
	if r.Header.Get(addressHeader) != "" {
		if _, err := n.prove(r); err != nil {
			refuse(w, err)
			return
		}
	}
	_, _ = io.WriteString(w, "ok") // whoever is gone needs no answer
}

func (n *Node) refuseStopping(w http.ResponseWriter) bool {
	if n.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return true
	}
	return false
}

func refuse(w http.ResponseWriter, err error) {
	status := statusOf(err)
	http.Error(w, http.StatusText(status), status)
}

// asker is who asks: an address that is proved, or else whoever says to be a known peer. Errors:
// message.Denied, message.NeedBundle.
func (n *Node) asker(r *http.Request) (Peer, error) {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	host := from.Addr().Unmap()
	id, err := ParseID(r.Header.Get(idHeader))
	p, known := Peer{}, false
	if err == nil {
		p, known = n.table.Peer(id, time.Now())
	}
	if stateOf(r) != nil && r.Header.Get(addressHeader) != "" {
		a, err := n.prove(r)
		if err != nil {
			return Peer{}, err
		}
		if !n.c.Visible && !n.isContact(r.Context(), a) {
			return Peer{}, fmt.Errorf("nearby: %s is no contact: %w", a.Short(), message.Denied)
		}
		p.ID, p.Address, p.Proved, p.host = id, a, true, host
		return p, nil
	}
	if !known {
		return Peer{}, fmt.Errorf("nearby: not a known peer: %w", message.Denied)
	}
	// An id proves nothing.
	p.Address, p.Proved, p.host = message.Address{}, false, host
	return p, nil
}

// welcome reports whether an address is answered at all: a hidden node answers contacts, and those
// whom it admits for some protocol.
func (n *Node) welcome(ctx context.Context, a message.Address) bool {
	return n.c.Visible || n.isContact(ctx, a) || n.lives.admits(ctx, a)
}

// prove compares the certificate of a connection with the cards of the address
// that it is said to be of. Errors: message.NeedBundle where they are not known, message.Denied.
func (n *Node) prove(r *http.Request) (message.Address, error) {
	key, ok := shown(stateOf(r))
	if !ok {
		return message.Address{}, fmt.Errorf("nearby: no certificate: %w", message.Denied)
	}
	a, err := message.ParseAddress(r.Header.Get(addressHeader))
	if err != nil {
		return message.Address{}, fmt.Errorf("nearby: %w", message.Invalid)
	}
	if !n.welcome(r.Context(), a) {
		return message.Address{}, fmt.Errorf("nearby: %s is no contact: %w", a.Short(), message.Denied)
	}
	chain, err := n.chain(r.Context(), a)
	if err != nil || !lists(chain, key) {
		return message.Address{}, message.Need(a)
	}
	return a, nil
}

// contact is who asks, who must be a contact.
func (n *Node) contact(r *http.Request) (message.Address, error) {
	if n.stopping.Load() {
		return message.Address{}, fmt.Errorf("nearby: stopping: %w", message.Unavailable)
	}
	a, err := n.prove(r)
	if err == nil && !n.isContact(r.Context(), a) {
		err = fmt.Errorf("nearby: %s is no contact: %w", a.Short(), message.Denied)
	}
	return a, err
}

// peers tells a known peer who else was heard. Hidden ones are told to nobody: they tell
// whom they want.
func (n *Node) peers(w http.ResponseWriter, r *http.Request) {
	if n.refuseStopping(w) {
		return
	}
	asker, err := n.asker(r)
	if err != nil {
		refuse(w, err)
		return
	}
	out := &wirev1.NearbyPeers{}
	for _, p := range n.Peers() {
		if p.ID != asker.ID && !p.Hidden && len(out.Peers) < maxListed {
			// So that it is taken for where the peer is, not for where this was heard.
			out.Peers = append(out.Peers, &wirev1.NearbyPeer{
				Id: &wirev1.NearbyID{Value: p.ID[:]}, Port: int32(p.Place.Port()), Ip: p.Place.Addr().WithZone("").String(), IsPublicIp: p.Public,
			})
		}
	}
	send(w, out)
}

// send answers with a message.
func send(w http.ResponseWriter, m proto.Message) {
	b, err := proto.Marshal(m)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, _ = w.Write(b) // whoever is gone needs no answer
}

// chat takes a session that a peer opens.
func (n *Node) chat(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if n.refuseStopping(w) {
		return
	}
	asker, err := n.asker(r)
	if err != nil {
		refuse(w, err)
		return
	}
	s := newSession(asker, nil)
	room := n.sessions.add(s) // before the other end hears of it, so that a stop waits for it
	if room {
		defer n.sessions.remove(s)
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it was told why
	}
	if !room {
		_ = ws.Close(websocket.StatusTryAgainLater, "") // it was told why
		return
	}
	n.sessions.open(s, ws)
	end := context.AfterFunc(ctx, func() { _ = ws.Close(websocket.StatusGoingAway, "stopping") }) // Hear ends with it
	defer end()
	err = s.Hear(context.WithoutCancel(ctx), func(l Line) {
		if n.c.Heard != nil {
			n.c.Heard(s, l)
		}
	})
	_ = ws.CloseNow() // where it has not ended in order
	n.log.DebugContext(ctx, "nearby: a session has ended", "peer", asker.Place, "error", err)
}

// cards shows one's own.
func (n *Node) cards(w http.ResponseWriter, _ *http.Request) {
	send(w, &wirev1.Identity{Cards: n.c.Keyring.Chain.Signed(0)})
}

// takeCards takes the cards of whoever has shown a certificate of theirs.
func (n *Node) takeCards(w http.ResponseWriter, r *http.Request) {
	err := func() error {
		a, err := message.ParseAddress(r.Header.Get(addressHeader))
		if err != nil {
			return err
		}
		if !n.welcome(r.Context(), a) {
			return message.Denied
		}
		key, ok := shown(stateOf(r))
		if !ok {
			return message.Denied
		}
		var in wirev1.Identity
		if err := read(w, r, maxCards, &in); err != nil {
			return err
		}
		if of, err := message.IdentityAddress(&in); err != nil || of != a {
			return message.Invalid
		}
		chain, err := n.learn(r.Context(), &in)
		if err == nil && !lists(chain, key) {
			err = message.BadSignature
		}
		return err
	}()
	if err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// read bounds and reads the body of a request.
func read(w http.ResponseWriter, r *http.Request, limit int64, into proto.Message) error {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(idleFor)); err != nil {
		return err
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return fmt.Errorf("nearby: more than %d bytes: %w", limit, message.TooLarge)
	}
	if err != nil {
		return fmt.Errorf("nearby: read: %w: %w", err, message.Invalid)
	}
	return parse(b, limit, into)
}

// takeLetter takes a letter that a contact brings.
func (n *Node) takeLetter(w http.ResponseWriter, r *http.Request) {
	from, err := n.contact(r)
	if err == nil && n.c.Inbox == nil {
		err = message.NotAccepted
	}
	var in wirev1.NearbyLetter
	if err == nil {
		err = read(w, r, maxLetter, &in)
	}
	if err == nil {
		err = n.c.Inbox.Deliver(r.Context(), from, &in)
	}
	if err != nil {
		n.log.InfoContext(r.Context(), "nearby: a letter is not taken", "from", from, "error", err)
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Bring brings a letter to the peer. When it returns nil the peer has kept it.
func (l *Link) Bring(ctx context.Context, letter *wirev1.NearbyLetter) error {
	b, err := proto.Marshal(letter)
	if err != nil {
		return err
	}
	res, err := l.ask(ctx, request{method: http.MethodPost, path: "/letters", body: b})
	if err != nil {
		return err
	}
	return res.Body.Close()
}
