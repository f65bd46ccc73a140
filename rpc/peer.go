package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"airdispatch/message"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// Peer is a server or tracker whose identity was verified. Safe for concurrent
// use.
type Peer struct {
	client   *Client
	identity *message.Identity
	hosts    []linkKey

	directory wirev1connect.DirectoryClient
	tracker   wirev1connect.TrackerClient
	mailbox   wirev1connect.MailboxClient
	exchange  wirev1connect.ExchangeClient

	access access
}

// open makes the typed clients. The host in their URL is replaced by the route's
// when a request is sent.
func (p *Peer) open() {
	c, base := doer(p.call), "https://"+p.hosts[0].origin
	options := append(carrying(), p.asking())
	p.directory = wirev1connect.NewDirectoryClient(c, base, options...)
	p.tracker = wirev1connect.NewTrackerClient(c, base, options...)
	p.mailbox = wirev1connect.NewMailboxClient(c, base, options...)
	p.exchange = wirev1connect.NewExchangeClient(c, base, options...)
}

// Address is the peer's address.
func (p *Peer) Address() message.Address { return p.identity.Address() }

// Identity is the peer's identity as it was when the Peer was made.
func (p *Peer) Identity() *message.Identity { return p.identity }

// Directory is the service that every server and tracker answers.
func (p *Peer) Directory() wirev1connect.DirectoryClient { return p.directory }

// Tracker is the service of trackers.
func (p *Peer) Tracker() wirev1connect.TrackerClient { return p.tracker }

// Mailbox is the service of the owner's own mail server.
func (p *Peer) Mailbox() wirev1connect.MailboxClient { return p.mailbox }

// Exchange is the service of mail servers to everybody else.
func (p *Peer) Exchange() wirev1connect.ExchangeClient { return p.exchange }

// Do makes a plain HTTP exchange, for blobs, on an HTTP/1.1 connection that it has
// for itself meanwhile: req.URL has a path and a query and no host. The Access is
// added. An answer that is not a success is returned as its refusal, with the body
// closed; redirects are not followed. There is no overall deadline, but a body that
// brings nothing for HeartbeatPatience ends with message.Unavailable. The caller
// closes the body.
func (p *Peer) Do(req *http.Request) (*http.Response, error) {
	what := req.Method + " " + p.Address().Short()
	if req.URL == nil || req.URL.Host != "" || req.URL.Scheme != "" || req.URL.User != nil {
		return nil, fmt.Errorf("rpc: %s: the URL of a request has a path and a query only: %w", what, message.Invalid)
	}
	res, err := p.exchangePlain(req)
	if p.corrected(err) && (req.Body == nil || req.GetBody != nil) {
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, fmt.Errorf("rpc: %s: %w", what, err)
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
		res, err = p.exchangePlain(req)
	}
	return res, explain(req.Context(), what, err)
}

// exchangePlain makes one exchange with this moment's Access.
func (p *Peer) exchangePlain(req *http.Request) (*http.Response, error) {
	header, err := p.authorization()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	req = req.Clone(ctx)
	if header != "" {
		req.Header.Set("Authorization", header)
	}
	res, err := p.send(req, func(l *link, req *http.Request) (*http.Response, error) { return l.send(l.bodies, req) })
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if err := refusedBy(res); err != nil {
		_ = res.Body.Close() // only what the refusal said is of interest
		cancel(nil)
		return nil, err
	}
	res.Body = &patientBody{ReadCloser: res.Body, ctx: req.Context(), parent: ctx, cancel: cancel}
	return res, nil
}

// Upgrade asks for a connection of another protocol (a WebSocket) at req's path,
// with this moment's Access. The answer is returned where the protocol was
// switched; what is not that is returned as its refusal, with the body closed. Errors
// wrap a message.Code.
func (p *Peer) Upgrade(req *http.Request) (*http.Response, error) {
	what := req.Method + " " + p.Address().Short()
	header, err := p.authorization()
	if err != nil {
		return nil, err
	}
	out := req.Clone(req.Context())
	if header != "" {
		out.Header.Set("Authorization", header)
	}
	res, err := p.send(out, func(l *link, req *http.Request) (*http.Response, error) { return l.send(l.upgraded, req) })
	if err != nil {
		return nil, explain(req.Context(), what, err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res, nil
	}
	err = refusedBy(res)
	_ = res.Body.Close() // only what the refusal said is of interest
	if err == nil {
		err = message.Unsupported
	}
	return nil, explain(req.Context(), what, err)
}

// Corrected reports whether err is a refusal of this peer that says another time
// than was thought; whoever was refused on an upgraded connection then tries again.
func (p *Peer) Corrected(err error) bool { return p.corrected(err) }

// call makes the exchange of a call.
func (p *Peer) call(req *http.Request) (*http.Response, error) {
	return p.send(req, (*link).call)
}

// send brings a request to the first host of the route that can be reached.
// Another host is tried only while the request can be sent again from its
// beginning; repeating it is harmless, because writes are idempotent by id.
func (p *Peer) send(req *http.Request, by func(*link, *http.Request) (*http.Response, error)) (*http.Response, error) {
	links := p.links()
	body := &heldBody{body: req.Body}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		req = req.Clone(req.Context())
		req.Body = body
	}
	var worst error
	for i, l := range links {
		if i > 0 && req.GetBody != nil {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = again
		}
		res, err := by(l, req)
		if err == nil {
			body.release()
			return res, nil
		}
		// A host that is somebody else weighs more than one that is away.
		if worst == nil || !errors.Is(worst, message.BadSignature) {
			worst = err
		}
		if req.Context().Err() != nil || body.touched() {
			break
		}
	}
	body.release()
	return nil, worst
}

// links are the hosts in the order to try: the route's, but those last that were
// unreachable just now.
func (p *Peer) links() []*link {
	links := make([]*link, len(p.hosts))
	for i, key := range p.hosts {
		links[i] = p.client.linkTo(key)
	}
	if len(links) == 1 {
		return links
	}
	now := time.Now()
	slices.SortStableFunc(links, func(a, b *link) int {
		switch up := a.up(now); {
		case up == b.up(now):
			return 0
		case up:
			return -1
		}
		return 1
	})
	return links
}

// heldBody is the body of a stream. A transport closes the body when it cannot
// connect; as long as nothing was read of it, that close is held back so that the
// stream can go to the next host.
type heldBody struct {
	body io.ReadCloser

	mu               sync.Mutex
	read, closed, on bool
}

// Read counts as the beginning of the request.
func (h *heldBody) Read(b []byte) (int, error) {
	h.mu.Lock()
	h.read = true
	h.mu.Unlock()
	return h.body.Read(b)
}

// Close closes the body, or remembers to.
func (h *heldBody) Close() error {
	h.mu.Lock()
	h.closed = true
	pass := h.read || h.on
	h.mu.Unlock()
	if pass {
		return h.body.Close()
	}
	return nil
}

// release ends the holding back.
func (h *heldBody) release() {
	h.mu.Lock()
	due := h.closed && !h.read && !h.on
	h.on = true
	h.mu.Unlock()
	if due {
		_ = h.body.Close() // the pipe's other end learns of it; there is no more to do
	}
}

func (h *heldBody) touched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read
}
