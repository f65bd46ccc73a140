package simnet

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// answer is the http.ResponseWriter of a handler.
type answer struct {
	x *exchange
	// heard says that somebody waits for it.
	heard  bool
	header http.Header

	// mu guards what follows.
	mu     sync.Mutex
	status int
	frozen http.Header
	data   []byte
	pieces int
	over   bool
}

// Header is the answer's.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader fixes the head.
func (w *answer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fix(status)
}

func (w *answer) fix(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.frozen = status, w.header.Clone()
	}
}

// Write adds to the body.
func (w *answer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fix(http.StatusOK)
	w.data = append(w.data, b...)
	return len(b), nil
}

// Flush sends what there is on its way.
func (w *answer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fix(http.StatusOK)
	w.send(false)
}

// splits is from how many bytes on a body comes in two pieces.
const splits = 2 << 10

// finish is for the end of the handler.
func (w *answer) finish(aborted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fix(http.StatusOK)
	if aborted {
		w.over = true
		if w.heard {
			w.x.later(w.x.weather.way(w.x.luck("abort")), "abort", errReset)
		}
		return
	}
	if all := w.data; len(all) > splits && w.pieces == 0 {
		at := 1 + w.x.luck("split").Among(len(all)-1)
		w.data = all[:at:at]
		w.send(false)
		w.data = all[at:]
	}
	w.send(true)
}

// send has the piece that is there delivered; mu is held.
func (w *answer) send(last bool) {
	if w.over {
		return
	}
	x := w.x
	w.over = last
	piece, n := w.data, w.pieces
	w.data, w.pieces = nil, n+1
	if !w.heard {
		x.post(near, fmt.Sprintf("first answer %d", n), func() string { return fmt.Sprintf("%d %d bytes, to nobody", w.status, len(piece)) })
		return
	}
	name := fmt.Sprintf("answer %d", n)
	due := time.Now().Add(x.weather.way(x.luck(name)))
	x.mu.Lock()
	if !due.After(x.last) {
		due = x.last.Add(1)
	}
	x.last = due
	x.mu.Unlock()
	switch {
	case x.fate == unanswered && n == 0:
		x.later(time.Until(due), name, errReset)
		return
	case x.fate == silentBack && n == 0:
		x.later(gaveUp, name, errSilent)
		return
	case x.fate == unanswered || x.fate == silentBack:
		return
	}
	status, header := w.status, w.frozen
	x.bus.post(due, x.key+" "+name, true, func() string { return x.arrive(status, header, piece, last) })
}

// arrive brings a piece of the answer to the caller.
func (x *exchange) arrive(status int, header http.Header, piece []byte, last bool) string {
	if x.bus.isCut(x.from.name, x.to.name) {
		x.later(gaveUp, "silence", errSilent)
		return "lost"
	}
	if last {
		x.to.busy(x, false)
	}
	x.watch(x.to.name, x.from.name, piece)
	tear := x.fate == torn && len(piece) > 0
	if tear {
		piece = piece[:x.luck("tear").Among(len(piece))]
	}
	x.mu.Lock()
	headed := x.headed
	x.headed = true
	x.mu.Unlock()
	x.body.add(piece)
	switch {
	case tear:
		x.body.fail(io.ErrUnexpectedEOF)
	case last:
		x.body.fail(io.EOF)
	}
	if !headed {
		x.head <- result{res: &http.Response{
			Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status, Proto: "HTTP/2.0", ProtoMajor: 2,
			Header: header, Body: x.body, ContentLength: -1, Request: x.req, Trailer: http.Header{},
		}}
	}
	return fmt.Sprintf("%d %d bytes %x%s", status, len(piece), sumOf(piece), x.fate)
}

// answerBody is the body of an answer, as far as it has come.
type answerBody struct {
	// closed is called once, when the caller has had enough.
	closed func()

	mu   sync.Mutex
	more *sync.Cond
	data bytes.Buffer
	err  error
	gone bool
}

func newAnswerBody() *answerBody {
	b := &answerBody{}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *answerBody) add(piece []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data.Write(piece)
	b.more.Broadcast()
}

// fail ends the body after what has come; the first end counts.
func (b *answerBody) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.more.Broadcast()
}

// Read waits for the next piece.
func (b *answerBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.data.Len() == 0 && b.err == nil && !b.gone {
		b.more.Wait()
	}
	switch {
	case b.gone:
		return 0, http.ErrBodyReadAfterClose
	case b.data.Len() > 0:
		return b.data.Read(p)
	}
	return 0, b.err
}

// Close ends it for the caller.
func (b *answerBody) Close() error {
	b.mu.Lock()
	gone := b.gone
	b.gone = true
	b.more.Broadcast()
	b.mu.Unlock()
	if !gone {
		b.closed()
	}
	return nil
}

// sumOf is enough of a sum to tell two pieces apart.
func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:4]
}
