package mailserver

import (
	"fmt"
	"sync"

	"airdispatch/message"
)

// topic is what a watcher waits for: changes of an inbox, or posts.
type topic struct {
	address message.Address
	posts   bool
}

// hub wakes watchers. It says that something changed and never what: what there
// is stands in the store. Safe for concurrent use.
type hub struct {
	perTopic, total int
	// mu guards what follows.
	mu       sync.Mutex
	watchers map[topic]*room
	count    int
}

// room is those who watch one topic, and the newest place in the log that they
// were woken for, so that a thousand of them need not ask the store whether there
// is something new.
type room struct {
	doors  map[chan struct{}]struct{}
	newest uint64
}

func newHub(perTopic, total int) *hub {
	return &hub{perTopic: perTopic, total: total, watchers: make(map[topic]*room)}
}

// watch registers a watcher; its channel holds one signal. Errors:
// message.RateLimited where there are too many.
func (h *hub) watch(t topic) (wake <-chan struct{}, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.watchers[t]
	if r == nil {
		r = &room{doors: make(map[chan struct{}]struct{})}
	}
	// Posts have any number of followers; an inbox has its owner's devices.
	if (h.total >= 0 && h.count >= h.total) || (!t.posts && h.perTopic >= 0 && len(r.doors) >= h.perTopic) {
		return nil, nil, fmt.Errorf("mailserver: watch %s: %w", t.address.Short(), message.RateLimited)
	}
	c := make(chan struct{}, 1)
	h.watchers[t], r.doors[c] = r, struct{}{}
	h.count++
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(r.doors, c)
		h.count--
		if len(r.doors) == 0 {
			delete(h.watchers, t)
		}
	}, nil
}

// wake signals everybody who watches t.
func (h *hub) wake(t topic) { h.wakeFor(t, 0) }

// wakeFor is wake where it is known that t changed at this place in the log.
func (h *hub) wakeFor(t topic, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.watchers[t]
	if r == nil {
		return
	}
	r.newest = max(r.newest, seq)
	for c := range r.doors {
		nudge(c)
	}
}

// newest is the newest place that watchers of t were woken for, 0 for none.
func (h *hub) newest(t topic) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.watchers[t]; r != nil {
		return r.newest
	}
	return 0
}
