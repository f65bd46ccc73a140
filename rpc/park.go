package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
)

const (
	// parkedStall is how long a parked stream's peer may refuse to take a message.
	// Messages there are a few dozen bytes, and whoever has let the system's buffers
	// fill with them does not listen; others wait for the same worker.
	parkedStall = time.Second
	// parkedWorkers take the steps of parked streams. A step is short, but for one
	// whose peer is stalled.
	parkedWorkers = 32
	// parkedBeats is how many groups parked streams have their heartbeats in, a
	// second apart.
	parkedBeats = int(HeartbeatEvery / time.Second)
)

// Waiter is what goes on with a stream after its handler has returned.
type Waiter interface {
	// Step returns the next message, or nil where there is nothing to say. It is
	// called after each wake, and with beat every HeartbeatEvery, for which there is
	// always something to say; never twice at once. An error ends the stream as a
	// handler's would.
	Step(ctx context.Context, beat bool) (proto.Message, error)
	// Gone is called once, when the stream is over, whoever ended it.
	Gone()
}

// Park lets a handler of a stream that only sends return and have w go on with
// the stream: most streams wait for hours, and the stacks and buffers of a handler
// that waits are twice what the connection itself costs. The handler has sent its first message, returns
// nil at once, and calls wake whenever w may have something to say. Not every
// stream can be parked (it must have a connection of its own, which is HTTP/1.1,
// in the binary form, without a deadline); then ok is false and the handler goes on.
func Park(ctx context.Context, w Waiter) (wake func(), ok bool) {
	p, ok := ctx.Value(parkingKey{}).(*parking)
	if !ok || p.stay != nil {
		return nil, false
	}
	if _, timed := ctx.Deadline(); timed {
		return nil, false
	}
	p.stay = &stay{lot: p.lot, waiter: w}
	return p.stay.wake, true
}

type parkingKey struct{}

// parking is the answer of a stream that may be parked. From when it is, nothing
// that Connect writes at a handler's end comes through.
type parking struct {
	http.ResponseWriter
	lot  *lot
	stay *stay
}

// offer returns the request and the answer to call a handler with.
func (l *lot) offer(w http.ResponseWriter, r *http.Request) (*parking, *http.Request) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/connect+proto" {
		return nil, r
	}
	p := &parking{ResponseWriter: w, lot: l}
	return p, r.WithContext(context.WithValue(r.Context(), parkingKey{}, p))
}

// Write is for net/http.
func (p *parking) Write(b []byte) (int, error) {
	if p.stay != nil {
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

// Flush is for Connect, which looks for it after each message.
func (p *parking) Flush() {
	if p.stay == nil {
		_ = http.NewResponseController(p.ResponseWriter).Flush() // the next write tells what is wrong
	}
}

// Unwrap is for http.ResponseController.
func (p *parking) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// lot is where parked streams stay. Its owner is the Server: run takes all steps,
// and returns when the last stream is over.
type lot struct {
	log    *slog.Logger
	vitals *vitals
	plain  *connect.ErrorWriter
	// readers wait for peers to go.
	readers sync.WaitGroup

	// mu guards what follows, and the state of every stay; nothing is called with it
	// held.
	mu sync.Mutex
	// beats are the streams in groups, by the second of begun in which they came;
	// beaten is the last second whose group had its turn. The clock runs only while
	// there are streams.
	beats  [parkedBeats]map[*stay]struct{}
	begun  time.Time
	beaten int
	clock  *time.Timer
	count  int
	due    []*stay
	work   *sync.Cond
	closed bool
}

func newLot(log *slog.Logger, v *vitals, plain *connect.ErrorWriter) *lot {
	l := &lot{log: log, vitals: v, plain: plain, begun: time.Now()}
	l.work = sync.NewCond(&l.mu)
	for n := range l.beats {
		l.beats[n] = make(map[*stay]struct{})
	}
	return l
}

// stay is one parked stream.
type stay struct {
	lot    *lot
	waiter Waiter
	conn   net.Conn // nil until the handler has returned
	group  int

	// Guarded by the lot: a step is due (queued), or under way, and then another
	// may be due after it (again).
	queued, stepping, again, beat, over bool
}

// moor takes the connection of a stream whose handler has returned.
func (l *lot) moor(p *parking) {
	s := p.stay
	conn, buffered, err := http.NewResponseController(p.ResponseWriter).Hijack()
	if err != nil {
		l.log.Debug("a stream was not parked", "error", err)
		l.mu.Lock()
		s.over = true
		l.mu.Unlock()
		s.waiter.Gone()
		panic(http.ErrAbortHandler) // half an answer was given; the peer must see it end
	}
	l.mu.Lock()
	s.conn = conn
	l.mu.Unlock()
	if buffered.Reader.Buffered() > 0 {
		s.leave() // it said more, where there is nothing to say
		return
	}
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.enter(s)
		if s.again {
			s.again = false
			l.queue(s)
		}
		l.readers.Go(s.read)
	}
	l.mu.Unlock()
	if closed {
		s.end(message.Unavailable, time.Now().Add(parkedStall))
	}
}

// read waits until the peer is gone. It has nothing to say any more.
func (s *stay) read() {
	var b [1]byte
	_, _ = s.conn.Read(b[:]) // whatever comes, it is the end
	s.leave()
}

// wake makes a step due.
func (s *stay) wake() {
	s.lot.mu.Lock()
	defer s.lot.mu.Unlock()
	s.lot.queue(s)
}

// queue makes a step due. The caller holds mu.
func (l *lot) queue(s *stay) {
	switch {
	case s.over || s.queued:
	case s.stepping || s.conn == nil:
		s.again = true
	default:
		s.queued = true
		l.due = append(l.due, s)
		l.work.Signal()
	}
}

// run takes steps until ctx ends, then ends all streams.
func (l *lot) run(ctx context.Context) {
	var working sync.WaitGroup
	for range parkedWorkers {
		working.Go(func() {
			for s, beat := l.next(); s != nil; s, beat = l.next() {
				s.step(ctx, beat)
				l.stepped(s)
			}
		})
	}
	<-ctx.Done()
	l.mu.Lock()
	l.closed = true
	if l.clock != nil {
		l.clock.Stop()
	}
	var all []*stay
	for _, group := range l.beats {
		for s := range group {
			all = append(all, s)
		}
	}
	l.work.Broadcast()
	l.mu.Unlock()
	working.Wait()
	until := time.Now().Add(parkedStall) // for all of them
	for _, s := range all {
		s.end(message.Unavailable, until)
	}
	l.readers.Wait()
}

// second is how many of them have passed.
func (l *lot) second() int { return int(time.Since(l.begun) / time.Second) }

// enter adds a stream to the group of this second. The caller holds mu.
func (l *lot) enter(s *stay) {
	now := l.second()
	s.group = now % parkedBeats
	l.beats[s.group][s] = struct{}{}
	if l.count++; l.count == 1 {
		l.beaten = now
		l.wind()
	}
}

// wind sets the clock to the next group that has streams. The caller holds mu.
func (l *lot) wind() {
	for next := l.beaten + 1; next <= l.beaten+parkedBeats; next++ {
		if len(l.beats[next%parkedBeats]) == 0 {
			continue
		}
		wait := time.Until(l.begun.Add(time.Duration(next) * time.Second))
		if l.clock == nil {
			l.clock = time.AfterFunc(wait, l.tick)
		} else {
			l.clock.Reset(wait)
		}
		return
	}
}

// tick makes the heartbeats due of the groups whose second has come.
func (l *lot) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.second()
	for next := max(l.beaten+1, now-parkedBeats+1); next <= now; next++ {
		for s := range l.beats[next%parkedBeats] {
			s.beat = true
			l.queue(s)
		}
	}
	l.beaten = now
	if !l.closed {
		l.wind()
	}
}

// next waits for a step that is due; nil is the end.
func (l *lot) next() (s *stay, beat bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.due) == 0 && !l.closed {
		l.work.Wait()
	}
	if l.closed {
		return nil, false
	}
	s, l.due[0] = l.due[0], nil
	if l.due = l.due[1:]; len(l.due) == 0 {
		l.due = nil
	}
	beat = s.beat
	s.queued, s.stepping, s.beat = false, true, false
	return s, beat
}

// stepped notes that a step was taken.
func (l *lot) stepped(s *stay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.stepping = false
	if s.again {
		s.again = false
		l.queue(s)
	}
}

// step takes one.
func (s *stay) step(ctx context.Context, beat bool) {
	m, err := s.ask(ctx, beat)
	switch {
	case err != nil:
		s.end(err, time.Now().Add(parkedStall))
	case m != nil:
		if err := s.send(m); err != nil {
			s.leave()
		}
	}
}

// ask asks the waiter; its panic is its own.
func (s *stay) ask(ctx context.Context, beat bool) (m proto.Message, err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			s.lot.vitals.panics.Add(1)
			s.lot.log.ErrorContext(ctx, "panic in a parked stream", "panic", thrown, "stack", string(debug.Stack()))
			err = errCaught
		}
	}()
	return s.waiter.Step(ctx, beat)
}

// send writes a message as Connect does (a flag, a length, the bytes), in a chunk
// of its own.
func (s *stay) send(m proto.Message) error {
	size := proto.Size(m)
	if size > message.MaxCall {
		return fmt.Errorf("rpc: send: %d bytes: %w", size, message.TooLarge)
	}
	const head = 5
	b := make([]byte, 0, size+head+16)
	b = strconv.AppendInt(b, int64(size+head), 16)
	b = append(b, '\r', '\n', 0)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return err
	}
	return s.write(append(b, '\r', '\n'), time.Now().Add(parkedStall))
}

func (s *stay) write(b []byte, until time.Time) error {
	if err := s.conn.SetWriteDeadline(until); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

// end tells the peer why its stream is over, and closes.
func (s *stay) end(err error, until time.Time) {
	said := &spoken{header: make(http.Header)}
	asked := &http.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/connect+proto"}}}
	err = (&answerer{log: s.lot.log}).refuse(context.Background(), "a parked stream", err)
	if s.lot.plain.Write(said, asked, err) == nil {
		b := fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", said.Len(), said.Bytes())
		_ = s.write(b, until) // it is over, whether the peer hears it or not
	}
	s.leave()
}

// leave ends the stay. The connection below TLS is closed: a farewell could wait
// for a peer that takes nothing.
func (s *stay) leave() {
	l := s.lot
	l.mu.Lock()
	over := s.over
	s.over = true
	if _, entered := l.beats[s.group][s]; entered {
		delete(l.beats[s.group], s)
		l.count--
	}
	l.mu.Unlock()
	if over {
		return
	}
	below := s.conn
	if t, ok := below.(*tls.Conn); ok {
		below = t.NetConn()
	}
	_ = below.Close() // nobody is there to be told
	s.waiter.Gone()
}

// spoken is an answer in memory.
type spoken struct {
	bytes.Buffer
	header http.Header
}

// Header is for http.ResponseWriter.
func (s *spoken) Header() http.Header { return s.header }

// WriteHeader is for http.ResponseWriter; the status was given long ago.
func (s *spoken) WriteHeader(int) {}
