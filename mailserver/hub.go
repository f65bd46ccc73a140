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
	watchers map[topic]map[chan struct{}]struct{}
	count    int
}

func newHub(perTopic, total int) *hub {
	return &hub{perTopic: perTopic, total: total, watchers: make(map[topic]map[chan struct{}]struct{})}
}

// watch registers a watcher; its channel holds one signal. Errors:
// message.RateLimited where there are too many.
func (h *hub) watch(t topic) (wake <-chan struct{}, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Posts have any number of followers; an inbox has its owner's devices.
	if (h.total >= 0 && h.count >= h.total) || (!t.posts && h.perTopic >= 0 && len(h.watchers[t]) >= h.perTopic) {
		return nil, nil, fmt.Errorf("mailserver: watch %s: %w", t.address.Short(), message.RateLimited)
	}
	c := make(chan struct{}, 1)
	if h.watchers[t] == nil {
		h.watchers[t] = make(map[chan struct{}]struct{})
	}
	h.watchers[t][c] = struct{}{}
	h.count++
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[t], c)
		h.count--
		if len(h.watchers[t]) == 0 {
			delete(h.watchers, t)
		}
	}, nil
}

// wake signals everybody who watches t.
func (h *hub) wake(t topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.watchers[t] {
		nudge(c)
	}
}
