package relay

import (
	"context"
	"io"
	"slices"

	"github.com/coder/websocket"
)

const (
	// keptEmpty is how much room an empty buffer keeps for what comes next; more
	// would make every connection that was once busy dear for ever.
	keptEmpty = 64 << 10
	// smallFrame is a frame after which a socket gives back the room of larger ones.
	smallFrame = 1 << 10
)

// fifo is bytes in order. What is taken off the front makes room at the back, so that a
// busy stream does not allocate.
type fifo struct {
	b   []byte
	off int
}

// bytes is what there is.
func (f *fifo) bytes() []byte { return f.b[f.off:] }

func (f *fifo) len() int { return len(f.b) - f.off }

// push puts p at the end.
func (f *fifo) push(p []byte) {
	if f.off > 0 && len(f.b)+len(p) > cap(f.b) {
		f.b = f.b[:copy(f.b, f.b[f.off:])]
		f.off = 0
	}
	f.b = append(f.b, p...)
}

// drop takes n bytes off the front.
func (f *fifo) drop(n int) {
	f.off += n
	if f.off < len(f.b) {
		return
	}
	f.off = 0
	if f.b = f.b[:0]; cap(f.b) > keptEmpty {
		f.b = nil
	}
}

// intake reads the messages of a socket into one buffer. For one reader.
type intake struct{ b []byte }

// next reads a message; it is good until the next one is read.
func (i *intake) next(ctx context.Context, ws *websocket.Conn) (websocket.MessageType, []byte, error) {
	kind, r, err := ws.Reader(ctx)
	if err != nil {
		return kind, nil, err
	}
	if cap(i.b) > 8*smallFrame && len(i.b) < smallFrame {
		i.b = nil
	}
	i.b = i.b[:0]
	for {
		if len(i.b) == cap(i.b) {
			i.b = slices.Grow(i.b, max(smallFrame, cap(i.b)))
		}
		n, err := r.Read(i.b[len(i.b):cap(i.b)])
		i.b = i.b[:len(i.b)+n]
		if err == io.EOF {
			return kind, i.b, nil
		}
		if err != nil {
			return kind, nil, err
		}
	}
}
