package mailserver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// asks announces p's route again, with senders to ask.
func (p *person) asks(senders ...*person) {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	req := &wirev1.AnnounceRequest{Identity: p.identity.Wire(), Trackers: []string{p.w.tracker.String()}}
	for _, s := range senders {
		req.Ask = append(req.Ask, s.address().Bytes())
	}
	_, err := p.peer.Mailbox().Announce(ctx, req)
	must(p.t, err)
}

// hostile answers Alerts with what it likes, and always has more.
type hostile struct {
	wirev1connect.UnimplementedExchangeHandler
	items      []*wirev1.AlertItem
	identities []*wirev1.Identity
	next       func(n int64) *wirev1.Cursor
	calls      atomic.Int64
}

func (h *hostile) Alerts(context.Context, *wirev1.AlertsRequest) (*wirev1.AlertsResponse, error) {
	return &wirev1.AlertsResponse{Items: h.items, Identities: h.identities, Next: h.next(h.calls.Add(1)), More: true}, nil
}

// TestHostileOrigin: a server that is asked what it holds can hand in nothing
// that it could not have brought, and is not asked for ever.
func TestHostileOrigin(t *testing.T) {
	for name, next := range map[string]func(int64) *wirev1.Cursor{
		"a log that stands still":    func(int64) *wirev1.Cursor { return &wirev1.Cursor{Epoch: 1, Seq: 7} },
		"a log that never ends":      func(n int64) *wirev1.Cursor { return &wirev1.Cursor{Epoch: 1, Seq: uint64(n)} },
		"a log that changes its age": func(n int64) *wirev1.Cursor { return &wirev1.Cursor{Epoch: uint64(n), Seq: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.stop()
				one, two, bad := w.host("one"), w.host("two"), w.host("bad")
				ann, bob, carl, eve := w.person("ann", one), w.person("bob", two), w.person("carl", two), w.person("eve", bad)
				bad.halt()
				item := func(s *message.Sealed, to *person) *wirev1.AlertItem {
					i := &wirev1.AlertItem{To: to.address().Bytes(), Head: s.Head.Signed}
					for _, slot := range s.Slots {
						if string(slot.GetAddress()) == string(to.address().Bytes()) {
							i.Slot = slot
						}
					}
					return i
				}
				good, others, carls := eve.letter("mine", bob), ann.letter("stolen", bob), eve.letter("for carl", carl)
				forged := eve.letter("forged", bob)
				forged.Head.Signed.Signature[3] ^= 1
				h := &hostile{next: next, identities: []*wirev1.Identity{eve.identity.Wire(), ann.identity.Wire(), bad.identity.Wire()}}
				h.items = []*wirev1.AlertItem{item(others, bob), item(carls, carl), item(forged, bob), {}, item(good, bob)}
				rs := w.listen(bad.place, bad.cert)
				rs.Mount(wirev1connect.NewExchangeHandler(h, rpc.Options(testLog(t))...))
				w.run(w.ctx, rs.Serve)
				bob.asks(eve)
				time.Sleep(6 * 24 * time.Hour)
				if e := bob.entry(good.Head.Ref()); e == nil || e.GetFolder() != wirev1.Folder_FOLDER_REQUESTS {
					t.Errorf("what the author's server may bring is at %v", e.GetFolder())
				}
				if n := len(bob.inbox()) + len(carl.inbox()); n != 1 {
					t.Errorf("%d entries came of it", n)
				}
				if n := h.calls.Load(); n < 1 || n > 4096 {
					t.Errorf("it was asked %d times", n)
				}
				before := h.calls.Load()
				time.Sleep(24 * time.Hour)
				if n := h.calls.Load() - before; n != 0 {
					t.Errorf("it is still asked: %d times a day", n)
				}
			})
		})
	}
}

// TestNoticeWakes: whoever watches hears of a notice when it is written, and not
// with the next heartbeat.
func TestNoticeWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		one, two := w.host("one"), w.host("two")
		ann, bob := w.person("ann", one), w.person("bob", two)
		two.halt()
		ann.send(ann.letter("are you there?", bob))
		time.Sleep(4*24*time.Hour + 23*time.Hour)
		ctx, cancel := context.WithTimeout(w.ctx, 2*24*time.Hour)
		defer cancel()
		resp, err := ann.peer.Mailbox().Account(ctx, &wirev1.AccountRequest{})
		must(t, err)
		stream, err := ann.peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{After: resp.GetNow()})
		must(t, err)
		defer stream.Close()
		for stream.Receive() {
			n := notices(ann)
			if len(n) == 0 {
				continue
			}
			if late := time.Since(time.UnixMilli(n[0].GetTime())); late > 100*time.Millisecond {
				t.Fatalf("told %s late", late)
			}
			return
		}
		t.Fatalf("never told: %v", stream.Err())
	})
}
