package nearby

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// MaxLine bounds a line of a chat.
	MaxLine = 16 << 10
	// frameRoom is what a message has besides its line.
	frameRoom = 1 << 10
	// lines a second, and at once, are what peers of P2P v0.4 send at most; ours read
	// no faster either, so that nobody is flooded.
	linesPerSecond, linesAtOnce = 10, 10
	// pingEvery is that of P2P v0.4; pingWithin is more than its second.
	pingEvery, pingWithin = 10 * time.Second, 5 * time.Second
	// maxSessions is how many others may have open here, and sessionsPerHost of one.
	maxSessions     = 64
	sessionsPerHost = 8
)

// Line is something said.
type Line struct {
	// Time is its author's.
	Time time.Time
	Text string
}

// Session is a chat with one peer. Say is safe for concurrent use.
type Session struct {
	// Peer is who is at the other end; only where it is Proved is that more than what
	// it says.
	Peer Peer

	ws   *websocket.Conn
	pace *rate.Limiter
	link *Link
}

func newSession(p Peer, ws *websocket.Conn) *Session {
	s := &Session{Peer: p, ws: ws, pace: rate.NewLimiter(linesPerSecond, linesAtOnce)}
	if ws != nil {
		ws.SetReadLimit(MaxLine + frameRoom)
	}
	return s
}

// Say sends a line, no faster than peers take them. Errors: message.TooLarge,
// message.Invalid, message.Unavailable where the session is over.
func (s *Session) Say(ctx context.Context, text string) error {
	switch {
	case len(text) > MaxLine:
		return fmt.Errorf("nearby: line of %d bytes: %w", len(text), message.TooLarge)
	case !utf8.ValidString(text):
		return fmt.Errorf("nearby: line that is no text: %w", message.Invalid)
	}
	if err := s.pace.Wait(ctx); err != nil {
		return err
	}
	b, err := proto.Marshal(&wirev1.NearbyMessage{SendTime: timestamppb.Now(), Message: text})
	if err != nil {
		return err
	}
	if err := s.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		if errors.Is(err, net.ErrClosed) || websocket.CloseStatus(err) != -1 {
			err = Gone // the words of a socket say no more than that
		}
		return fmt.Errorf("nearby: say: %w: %w", err, message.Unavailable)
	}
	return nil
}

// Hear calls heard for each line until the session ends; an orderly end is no error.
func (s *Session) Hear(ctx context.Context, heard func(Line)) error {
	ctx, cancel := context.WithCancel(ctx)
	var pinger sync.WaitGroup
	pinger.Go(func() { s.ping(ctx) })
	defer pinger.Wait()
	defer cancel()
	pace := rate.NewLimiter(linesPerSecond, linesAtOnce)
	for {
		kind, b, err := s.ws.Read(ctx)
		if err != nil {
			if status := websocket.CloseStatus(err); status == websocket.StatusNormalClosure || status == websocket.StatusGoingAway || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("nearby: session: %w: %w", err, message.Unavailable)
		}
		line, err := parseLine(kind, b)
		if err != nil {
			return errors.Join(err, s.ws.Close(websocket.StatusInternalError, "")) // as P2P v0.4 does
		}
		heard(line)
		if pace.Wait(ctx) != nil {
			return nil
		}
	}
}

// parseLine reads one message of a session.
func parseLine(kind websocket.MessageType, b []byte) (Line, error) {
	var w wirev1.NearbyMessage
	if kind != websocket.MessageBinary {
		return Line{}, fmt.Errorf("nearby: session: not binary: %w", message.Invalid)
	}
	if err := parse(b, MaxLine+frameRoom, &w); err != nil {
		return Line{}, err
	}
	l := Line{Text: w.GetMessage()}
	if w.GetSendTime().IsValid() {
		l.Time = w.GetSendTime().AsTime()
	}
	return l, nil
}

// ping ends the session of a peer that is gone.
func (s *Session) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, pingWithin)
		err := s.ws.Ping(within)
		cancel()
		if err != nil {
			_ = s.ws.CloseNow() // the reader sees it
			return
		}
	}
}

// Close ends the session in order.
func (s *Session) Close() error {
	err := s.ws.Close(websocket.StatusNormalClosure, "")
	if s.link != nil {
		s.link.Close()
	}
	return err
}

// Chat opens a session with a peer that has proved who it is.
func (l *Link) Chat(ctx context.Context) (*Session, error) {
	if err := l.ping(ctx); err != nil { // it may have to be shown one's cards
		return nil, err
	}
	s, err := dialSession(ctx, l.Peer, "wss://peer.invalid/ws", &websocket.DialOptions{HTTPClient: l.http, HTTPHeader: l.headers(nil)})
	if err == nil {
		s.link = l
	}
	return s, err
}

// ChatPlain opens a session with a peer of P2P v0.4: nobody knows who it is, and others can
// read along.
func (n *Node) ChatPlain(ctx context.Context, p Peer) (*Session, error) {
	p.Address, p.Proved = message.Address{}, false
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: n.c.Dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader, ResponseHeaderTimeout: answerWithin},
	}
	header := http.Header{}
	header.Set(idHeader, n.ID().String())
	return dialSession(ctx, p, "ws://"+p.Place.String()+"/ws", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
}

func dialSession(ctx context.Context, p Peer, url string, o *websocket.DialOptions) (*Session, error) {
	ws, res, err := websocket.Dial(ctx, url, o)
	if err != nil {
		code := message.Unavailable
		if res != nil && res.StatusCode != http.StatusSwitchingProtocols {
			code = codeOf(res.StatusCode)
		}
		return nil, fmt.Errorf("nearby: chat with %s: %w: %w", p.Place, err, code)
	}
	return newSession(p, ws), nil
}

// sessions are those that others have opened.
type sessions struct {
	mu  sync.Mutex
	all map[*Session]struct{}
}

// add notes a session, where there is room.
func (s *sessions) add(n *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	here := 0
	for o := range s.all {
		if o.Peer.host == n.Peer.host {
			here++
		}
	}
	if len(s.all) >= maxSessions || here >= sessionsPerHost {
		return false
	}
	s.all[n] = struct{}{}
	return true
}

// open gives a session that was added its connection.
func (s *sessions) open(n *Session, ws *websocket.Conn) {
	ws.SetReadLimit(MaxLine + frameRoom)
	s.mu.Lock()
	defer s.mu.Unlock()
	n.ws = ws
}

func (s *sessions) remove(n *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, n)
}
