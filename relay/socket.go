package relay

import (
	"context"
	"time"

	"github.com/coder/websocket"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxQueued is how many frames may wait for one socket beside the streams', which
// windows bound: one that asks and does not read what it asked for gets no more.
const maxQueued = 1024

// socket is one WebSocket at the server.
type socket struct {
	server *Server
	ws     *websocket.Conn
	text   bool
	// intake, and size, which is that of the frame that next returned, are for the reader alone.
	intake intake
	size   int

	// The server's mu guards what follows.
	cancel  context.CancelFunc
	seat    *seat
	out     []item
	writing bool
	gone    bool
	heard   time.Time
}

// item is something to be written. Credit, and the word that an end has come
// back, are taken from their end when their turn comes, so that any number of them are one.
type item struct {
	frame *wirev1.LiveFrame
	data  *[]byte // a frame of bytes as it is written; one of the server's copies
	pair  *pair
	end   int  // whose it is, with pair
	back  bool // it is not credit
}

// resolve is the frame of an item; the server's mu is held.
func (it item) resolve() *wirev1.LiveFrame {
	if it.pair == nil {
		return it.frame
	}
	e := &it.pair.ends[it.end]
	if it.back {
		e.away.queued = false
		return &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Direct{Direct: e.away.said}}
	}
	e.crediting = false
	return creditFrame(it.pair.id, e.consumed)
}

// seat is a session of an address: what stays when its socket breaks.
type seat struct {
	address   message.Address
	person    *person
	session   ID
	socket    *socket // nil while it is away
	protocols map[string]struct{}
	served    uint64
	pairs     map[*pair]struct{}
	lost      time.Time // when the socket went
}

// next reads one frame.
func (k *socket) next(ctx context.Context) (*wirev1.LiveFrame, error) {
	kind, b, err := k.intake.next(ctx, k.ws)
	if err != nil {
		return nil, err
	}
	if (kind == websocket.MessageText) != k.text {
		return nil, message.Invalid
	}
	k.size = len(b)
	return parseFrame(k.text, b)
}

// drop breaks a socket; its reader notices and cleans up.
func (k *socket) drop() {
	k.cancel()
	_ = k.ws.CloseNow() // it breaks either way
}

// send writes one frame past the queue, before there is one.
func (k *socket) send(ctx context.Context, f *wirev1.LiveFrame) error {
	kind, b, err := appendFrame(k.text, f)
	if err != nil {
		return err
	}
	return k.ws.Write(ctx, kind, b)
}

// enqueue puts something into a socket's queue; the caller holds mu. An idle
// socket has no goroutine that writes: one is there while there is something to
// write.
func (s *Server) enqueue(k *socket, it item) {
	if k == nil || k.gone {
		return
	}
	k.out = append(k.out, it)
	if k.writing || s.stopped {
		return
	}
	k.writing = true
	s.writers.Go(func() { s.write(k) })
}

// write empties a socket's queue.
func (s *Server) write(k *socket) {
	for {
		s.mu.Lock()
		if len(k.out) == 0 || k.gone {
			k.writing, k.out = false, nil
			s.mu.Unlock()
			return
		}
		it := k.out[0]
		f := it.resolve()
		k.out[0] = item{}
		k.out = k.out[1:]
		s.mu.Unlock()
		// A peer that takes nothing is disconnected by the door of rpc.
		err := s.deliver(k, it.data, f)
		if err != nil {
			s.mu.Lock()
			k.gone, k.writing, k.out = true, false, nil
			s.mu.Unlock()
			k.drop()
			return
		}
	}
}

// deliver writes what was queued: a frame, or bytes.
func (s *Server) deliver(k *socket, data *[]byte, f *wirev1.LiveFrame) error {
	if data == nil {
		return k.send(context.Background(), f)
	}
	defer s.copies.Put(data)
	if k.text {
		return k.send(context.Background(), &wirev1.LiveFrame{Kind: &wirev1.LiveFrame_Data{Data: parseData(*data)}})
	}
	return k.ws.Write(context.Background(), websocket.MessageBinary, *data)
}

// copied is a frame of bytes that may be kept until it is delivered.
func (s *Server) copied(w *wirev1.LiveData) *[]byte {
	b, ok := s.copies.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = appendData((*b)[:0], w)
	return b
}
