package simworld

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/prove/simdisk"
)

// rogue is the one who is up to no good: a person, a server or a tracker. It has
// all keys of its own, and says and does what it likes.
type rogue struct {
	person *Person
	host   *Host
	// other answers in the rogue's name from what it kept when it began to lie.
	other http.Handler
	asked int
}

// choose chooses who it is.
func (w *World) choose() {
	dice := w.dice("rogue")
	switch dice.IntN(3) {
	case 0:
		w.rogue.person = w.people[dice.IntN(len(w.people))]
		w.outcast = w.rogue.person.keyring.Address()
	case 1:
		w.rogue.host = w.servers[dice.IntN(len(w.servers))]
	default:
		w.rogue.host = w.trackers[dice.IntN(len(w.trackers))]
	}
	for _, p := range w.people {
		p.tainted = p.server == w.rogue.host
	}
	w.bus.Post(time.Second, "a rogue", func() string {
		if w.rogue.person != nil {
			return w.rogue.person.name
		}
		return w.rogue.host.name
	})
}

// turn makes a rogue host keep a second book, and answer from either.
func (w *World) turn() string {
	h := w.rogue.host
	if h == nil || !h.up || w.rogue.other != nil {
		return "not now"
	}
	if h.kept == nil {
		w.rogue.other = h.secondTracker()
		return "two books"
	}
	second := &keep{shelf: h.kept.shelf, disk: h.kept.disk.Clone(), blobs: h.kept.blobs}
	second.disk.Arm(func(simdisk.Event) simdisk.Fault { return simdisk.None })
	if err := second.open(w.ctx); err != nil {
		w.blame("the rogue's second book: %v", err)
		return "no second book"
	}
	w.rogue.other = h.secondServer(second)
	return "two books"
}

// lie answers in the name of a rogue host.
func (w *World) lie(h *Host, honest http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.rogue.host != h || !w.living || w.rogue.other == nil {
			honest.ServeHTTP(out, r)
			return
		}
		w.rogue.asked++
		dice := w.dice("lie " + time.Now().String())
		body, err := io.ReadAll(r.Body)
		if err != nil {
			out.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.count("lies told")
		switch n := dice.IntN(20); {
		case n < 9:
			honest.ServeHTTP(out, r)
		case n < 14:
			w.rogue.other.ServeHTTP(out, r)
		case n < 17:
			spoil(out, r, honest, dice)
		case n < 18:
			out.WriteHeader(http.StatusInternalServerError)
		case n < 19:
			out.Header().Set("Content-Type", "application/proto")
			_, _ = out.Write(noise(dice)) // to a recorder
		default:
			both(out, r, body, honest, w.rogue.other)
		}
	})
}

// noise is bytes that say nothing.
func noise(dice *rand.Rand) []byte {
	b := make([]byte, dice.IntN(200))
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	return b
}

// recorder is an answer that is not sent yet.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// Flush is for streams, which are spoiled too.
func (r *recorder) Flush() {}

// recorded is what a handler answers.
func recorded(req *http.Request, h http.Handler) *recorder {
	r := &recorder{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(r, req)
	return r
}

// send sends a recorded answer.
func (r *recorder) send(out http.ResponseWriter, body []byte) {
	for k, v := range r.header {
		if !strings.EqualFold(k, "Content-Length") {
			out.Header()[k] = v
		}
	}
	out.WriteHeader(r.status)
	_, _ = out.Write(body) // to a recorder
}

// spoil changes some bytes of an honest answer.
func spoil(out http.ResponseWriter, req *http.Request, honest http.Handler, dice *rand.Rand) {
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/connect+") {
		honest.ServeHTTP(out, req)
		return
	}
	r := recorded(req, honest)
	body := bytes.Clone(r.body.Bytes())
	for range 1 + dice.IntN(3) {
		if len(body) > 0 {
			body[dice.IntN(len(body))] ^= 1 << dice.IntN(8)
		}
	}
	r.send(out, body)
}

// both asks two books and tells what the second says.
func both(out http.ResponseWriter, req *http.Request, body []byte, first, second http.Handler) {
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	recorded(req, first)
	r := recorded(again, second)
	r.send(out, r.body.Bytes())
}

// trusted reports whether what is promised by, or for, these is to be held to.
func (w *World) trusted(h *Host, people ...*Person) bool {
	if w.rogue.host != nil && h == w.rogue.host {
		return false
	}
	for _, p := range people {
		if p == w.rogue.person || p.server == w.rogue.host || p.tainted {
			return false
		}
	}
	return true
}

// prowl has the rogue ask for what is not for it.
func (w *World) prowl(dice *rand.Rand) string {
	if w.rogue.person == nil && (w.rogue.host == nil || w.rogue.host.kept == nil) {
		return "no prowler"
	}
	w.count("prowls")
	w.pending++
	at := dice.Uint64()
	go func() {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		said := w.sneak(ctx, rand.New(rand.NewPCG(at, 1)))
		w.bus.Post(time.Microsecond, "prowl ends", func() string {
			w.pending--
			return said
		})
	}()
	return "begins"
}

// refused is whether an error is a refusal.
func refused(err error) bool { return err != nil && message.CodeOf(err) != message.Unavailable }
