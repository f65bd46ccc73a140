package relay

import (
	"context"
	"io"
	"slices"

	"github.com/coder/websocket"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// smallFrame is a frame after which a socket gives back the room of larger ones.
const smallFrame = 1 << 10

// fifo is bytes in order. What is taken off the front makes room at the back, so that a
// busy stream does not allocate.
type fifo struct {
	b    []byte
	off  int
	used bool // since rest was called
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
	f.used = true
}

// drop takes n bytes off the front.
func (f *fifo) drop(n int) {
	f.off += n
	if f.off < len(f.b) {
		return
	}
	f.off, f.b = 0, f.b[:0]
}

// rest gives back the room of a buffer that is empty and was not used since it was asked
// the last time: a connection that was once busy is not dear for ever.
func (f *fifo) rest() {
	if f.len() == 0 && !f.used && cap(f.b) > smallFrame {
		f.b = nil
	}
	f.used = false
}

// outlet is room for what one writer sends, which it has until the next frame, and a
// frame that is still to go.
type outlet struct {
	data, frame []byte
	held        *wirev1.LiveFrame
}

// rest gives the room back where a small frame was enough.
func (o *outlet) rest() {
	if cap(o.frame) > 8*smallFrame && len(o.frame) < smallFrame {
		*o = outlet{held: o.held}
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
