package bench

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"

	"github.com/fiatjaf/eventstore/lmdb"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"
)

// khatruPeer is a Nostr relay with an LMDB store, in this process, over
// WebSocket on plain TCP. LMDB syncs every commit.
type khatruPeer struct {
	clients []*nostr.Relay
	key     string
	stop    func()
}

func newKhatru(dir string, clients int) (*khatruPeer, error) {
	db := &lmdb.LMDBBackend{Path: filepath.Join(dir, "lmdb"), MapSize: 1 << 32}
	if err := db.Init(); err != nil {
		return nil, err
	}
	relay := khatru.NewRelay()
	relay.Log = log.New(io.Discard, "", 0)
	relay.StoreEvent = append(relay.StoreEvent, db.SaveEvent)
	relay.QueryEvents = append(relay.QueryEvents, db.QueryEvents)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: relay}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	p := &khatruPeer{key: nostr.GeneratePrivateKey()}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = func() {
		for _, c := range p.clients {
			_ = c.Close()
		}
		cancel()
		_ = server.Close()
		<-done
		db.Close()
	}
	for range clients {
		c, err := nostr.RelayConnect(ctx, "ws://"+l.Addr().String())
		if err != nil {
			p.stop()
			return nil, err
		}
		c.AssumeValid = true // what the client checks is not what is measured
		p.clients = append(p.clients, c)
	}
	return p, nil
}

// event is a signed note of the usual size.
func (p *khatruPeer) event(n int) (nostr.Event, error) {
	text := make([]byte, row)
	for i := range text {
		text[i] = 'a'
	}
	e := nostr.Event{CreatedAt: nostr.Timestamp(1_700_000_000 + n), Kind: 1, Content: fmt.Sprintf("%d %s", n, text)}
	return e, e.Sign(p.key)
}

// khatruPublish stores one event a call.
func khatruPublish(workers int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		p, err := newKhatru(dir, workers)
		if err != nil {
			return nil, err
		}
		var ready stock[nostr.Event]
		next := counter()
		return &Run{
			Close:   p.stop,
			Prepare: func(n int) error { return ready.add(n, func(int) (nostr.Event, error) { return p.event(next()) }) },
			Do: func(w int) error {
				e, err := ready.take(1)
				if err != nil {
					return err
				}
				return p.clients[w].Publish(context.Background(), e[0])
			},
		}, nil
	}
}

// khatruPages queries the newest events of one author.
func khatruPages(workers, page int) func(string) (*Run, error) {
	return func(dir string) (*Run, error) {
		p, err := newKhatru(dir, workers)
		if err != nil {
			return nil, err
		}
		author := ""
		for n := range 4 * page {
			e, err := p.event(n)
			if err == nil {
				err = p.clients[0].Publish(context.Background(), e)
			}
			if err != nil {
				p.stop()
				return nil, err
			}
			author = e.PubKey
		}
		return &Run{Close: p.stop, Do: func(w int) error {
			got, err := p.clients[w].QuerySync(context.Background(), nostr.Filter{Authors: []string{author}, Limit: page})
			if err == nil && len(got) != page {
				err = fmt.Errorf("a page of %d, not %d", len(got), page)
			}
			return err
		}}, nil
	}
}
