package simnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"airdispatch/rpc"
)

// carrier carries the exchanges of one place under one proof.
type carrier struct {
	from  *Place
	life  context.Context
	proof *tls.Config
}

// Why an exchange failed, in the words of a socket.
var (
	errReset   = &net.OpError{Op: "read", Net: "simulated", Err: syscall.ECONNRESET}
	errRefused = &net.OpError{Op: "dial", Net: "simulated", Err: syscall.ECONNREFUSED}
	errSilent  = &net.OpError{Op: "read", Net: "simulated", Err: syscall.ETIMEDOUT}
	errNoHost  = &net.DNSError{Err: "no such host", IsNotFound: true}
)

// RoundTrip carries one exchange.
func (c *carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		if closeErr := req.Body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
	}
	if c.life.Err() != nil {
		return nil, errReset
	}
	if req.Context().Err() != nil {
		return nil, context.Cause(req.Context())
	}
	x, err := c.exchange(req, body)
	if err != nil {
		return nil, err
	}
	x.begin()
	var got result
	select {
	case got = <-x.head:
	case <-req.Context().Done():
		got.err = context.Cause(req.Context())
	case <-c.life.Done():
		got.err = errReset
	}
	if got.err != nil {
		x.leave()
		return nil, got.err
	}
	stop := context.AfterFunc(req.Context(), func() { x.body.fail(context.Cause(req.Context())) })
	stopLife := context.AfterFunc(c.life, func() { x.body.fail(errReset) })
	x.body.closed = func() {
		stop()
		stopLife()
		x.leave()
	}
	return got.res, nil
}

// exchange prepares one, to the place that the request names.
func (c *carrier) exchange(req *http.Request, body []byte) (*exchange, error) {
	b, host := c.from.bus, req.URL.Hostname()
	to := b.at(host)
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil:
	case to == nil:
		return nil, errNoHost
	default:
		ip = to.IP
	}
	port := uint16(443)
	if p := req.URL.Port(); p != "" {
		if _, err := fmt.Sscan(p, &port); err != nil {
			return nil, err
		}
	}
	if err := (rpc.Guard{}).Check(netip.AddrPortFrom(ip, port)); err != nil {
		b.mu.Lock()
		b.refused++
		b.mu.Unlock()
		return nil, err
	}
	if to == nil {
		return nil, errRefused
	}
	sum := sha256.New()
	fmt.Fprintln(sum, req.Header["Authorization"], req.Header["Range"])
	sum.Write(body)
	x := &exchange{
		bus: b, from: c.from, to: to, proof: c.proof, req: req, sent: body, head: make(chan result, 1), body: newAnswerBody(),
		key: fmt.Sprintf("%s > %s %s %s %x", c.from.name, to.name, req.Method, req.URL.RequestURI(), sum.Sum(nil)[:6]),
	}
	return x, nil
}

// result is what the caller of an exchange gets first.
type result struct {
	res *http.Response
	err error
}

// exchange is one request and its answer.
type exchange struct {
	bus      *Bus
	from, to *Place
	proof    *tls.Config
	req      *http.Request
	sent     []byte
	key      string
	weather  Weather
	luck     func(what string) Luck
	fate     fate
	head     chan result
	body     *answerBody

	// mu guards what follows.
	mu     sync.Mutex
	headed bool
	left   bool
	cancel context.CancelFunc // of the handler, while it runs
	last   time.Time
}

// begin sends the request on its way.
func (x *exchange) begin() {
	b := x.bus
	b.mu.Lock()
	b.open++
	b.seen["begin "+x.key]++
	n := b.seen["begin "+x.key]
	x.weather = b.weather
	b.mu.Unlock()
	x.luck = func(what string) Luck { return b.Luck(x.key, n, what) }
	x.fate = x.weather.fate(x.luck("fate"))
	way := x.weather.way(x.luck("there"))
	switch {
	case b.isCut(x.from.name, x.to.name):
		if x.luck("cut").Share() < 0.5 {
			x.later(way, "no way", errRefused)
		} else {
			x.later(unroutable, "no way", errSilent)
		}
	case x.fate == unreached:
		x.later(way, "request", errReset)
	case x.fate == silentThere:
		x.later(gaveUp, "request", errSilent)
	case x.fate == twice:
		x.post(way, "first request", func() string { return x.deliver(false) })
		x.post(way+x.weather.way(x.luck("again")), "request", func() string { return x.deliver(true) })
	default:
		x.post(way, "request", func() string { return x.deliver(true) })
	}
}

// post has something done that belongs to the exchange.
func (x *exchange) post(after time.Duration, what string, do func() string) {
	x.bus.post(time.Now().Add(after), x.key+" "+what, true, do)
}

// later ends the exchange, and never in the very moment in which somebody's
// patience for it ends: who would be first, two runs would not agree upon.
func (x *exchange) later(after time.Duration, what string, err error) {
	x.post(after+1+x.luck("late "+what).Within(time.Millisecond), what, func() string {
		x.fail(err)
		return err.Error() + x.fate.String()
	})
}

// fail tells the caller that there is no answer, or no more of it.
func (x *exchange) fail(err error) {
	x.mu.Lock()
	headed := x.headed
	x.headed = true
	x.mu.Unlock()
	if headed {
		x.body.fail(err)
		return
	}
	x.head <- result{err: err}
}

// leave is for the caller who waits for nothing more: the other end hears of it.
func (x *exchange) leave() {
	x.mu.Lock()
	left, cancel := x.left, x.cancel
	x.left = true
	x.mu.Unlock()
	if left {
		return
	}
	x.bus.mu.Lock()
	x.bus.open--
	x.bus.mu.Unlock()
	if cancel != nil {
		x.bus.Post(x.weather.way(x.luck("gone")), x.key+" gone", func() string {
			cancel()
			return "gone"
		})
	}
}

// crashed is for the place that answers.
func (x *exchange) crashed() {
	x.later(near, "crash", errReset)
}

// deliver hands the request to whoever answers. The answer of a first request
// that comes twice reaches nobody.
func (x *exchange) deliver(heard bool) string {
	if x.bus.isCut(x.from.name, x.to.name) {
		if heard {
			x.later(gaveUp, "silence", errSilent)
		}
		return "lost"
	}
	handler, certificate, life := x.to.who()
	switch {
	case handler == nil:
		if heard {
			x.later(x.weather.way(x.luck("back")), "answer", errRefused)
		}
		return "nobody is there"
	case !heard && x.isLeft():
		return "not repeated"
	}
	if err := x.prove(certificate); err != nil {
		x.fail(err)
		return "not believed: " + err.Error()
	}
	x.watch(x.from.name, x.to.name, x.sent)
	w := &answer{x: x, heard: heard, header: http.Header{}}
	ctx, cancel := context.WithCancel(life)
	if heard {
		x.mu.Lock()
		gone := x.left
		x.cancel = cancel
		x.mu.Unlock()
		if gone {
			cancel()
			return "gone before"
		}
		x.to.busy(x, true)
	}
	go x.answer(ctx, cancel, handler, w)
	return fmt.Sprintf("%d bytes%s", len(x.sent), x.fate)
}

func (x *exchange) isLeft() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.left
}

func (x *exchange) watch(from, to string, b []byte) {
	x.bus.mu.Lock()
	sees := x.bus.sees
	x.bus.mu.Unlock()
	if sees != nil {
		sees(from, to, b)
	}
}

// prove holds the place's certificate to what TLS would.
func (x *exchange) prove(certificate *x509.Certificate) error {
	if certificate == nil || x.proof.VerifyConnection == nil {
		return errors.New("simulated TLS: no certificate, or no way to check it")
	}
	return x.proof.VerifyConnection(tls.ConnectionState{
		Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: x.to.name, PeerCertificates: []*x509.Certificate{certificate},
	})
}

// answer runs the handler.
func (x *exchange) answer(ctx context.Context, cancel context.CancelFunc, handler http.Handler, w *answer) {
	x.to.Clock.Wear()
	defer func() {
		cancel()
		if w.heard {
			x.mu.Lock()
			x.cancel = nil
			x.mu.Unlock()
		}
	}()
	defer func() {
		thrown := recover()
		if thrown != nil && thrown != http.ErrAbortHandler {
			panic(thrown)
		}
		w.finish(thrown != nil)
	}()
	handler.ServeHTTP(w, x.arrived(ctx, w.heard))
}

// arrived is the request as the other end gets it.
func (x *exchange) arrived(ctx context.Context, heard bool) *http.Request {
	r := (&http.Request{
		Method: x.req.Method, URL: x.req.URL, RequestURI: x.req.URL.RequestURI(), Header: x.req.Header.Clone(), Host: x.to.name,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: int64(len(x.sent)), RemoteAddr: netip.AddrPortFrom(x.from.IP, 40_000).String(),
	}).WithContext(ctx)
	var body io.Reader = bytes.NewReader(x.sent)
	if x.fate == halved && heard && len(x.sent) > 0 {
		body = io.MultiReader(bytes.NewReader(x.sent[:x.luck("half").Among(len(x.sent))]), broken{})
	}
	r.Body = io.NopCloser(body)
	return r
}

// broken is the end of a body that was cut.
type broken struct{}

// Read fails.
func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
