package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"

	"airdispatch/message"
	"airdispatch/rpc"
)

// Socket is an open WebSocket.
type Socket = websocket.Conn

// Open opens a socket to a mail server: at its hosts, under its pin, and with an
// Access.
func Open(ctx context.Context, p *rpc.Peer) (*Socket, error) {
	ws, _, err := websocket.Dial(ctx, "wss://host"+Path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: carrier(p.Upgrade)}, Subprotocols: []string{Binary},
	})
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // the URL is nobody's; the peer knows its hosts
	}
	if err != nil {
		return nil, fmt.Errorf("relay: open %s: %w", p.Address().Short(), err)
	}
	if ws.Subprotocol() != Binary {
		_ = ws.CloseNow() // it is of no use
		return nil, fmt.Errorf("relay: open %s: another subprotocol: %w", p.Address().Short(), message.Unsupported)
	}
	return ws, nil
}

// carrier makes a function what an http.Client sends with; the host of a request
// is the peer's to know.
type carrier func(*http.Request) (*http.Response, error)

// RoundTrip makes one exchange.
func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	return c(r)
}
