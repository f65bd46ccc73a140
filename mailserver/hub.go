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
	doors  map[*door]struct{}
	newest uint64
}

// door is where one watcher is woken.
type door struct {
	hub   *hub
	topic topic
	// knock is called with the hub held, must not wait, and may be called once more
	// than is needed.
	knock func()
}

func newHub(perTopic, total int) *hub {
	return &hub{perTopic: perTopic, total: total, watchers: make(map[topic]*room)}
}

// watch registers a watcher; knock is how it is woken. Errors:
// message.RateLimited where there are too many.
func (h *hub) watch(t topic, knock func()) (*door, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.watchers[t]
	if r == nil {
		r = &room{doors: make(map[*door]struct{})}
	}
	// Posts have any number of followers; an inbox has its owner's devices.
	if (h.total >= 0 && h.count >= h.total) || (!t.posts && h.perTopic >= 0 && len(r.doors) >= h.perTopic) {
		return nil, fmt.Errorf("mailserver: watch %s: %w", t.address.Short(), message.RateLimited)
	}
	d := &door{hub: h, topic: t, knock: knock}
	h.watchers[t], r.doors[d] = r, struct{}{}
	h.count++
	return d, nil
}

// move has the watcher be woken in another way from now on.
func (d *door) move(knock func()) {
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	d.knock = knock
}

// leave ends the watching.
func (d *door) leave() {
	h := d.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.watchers[d.topic]
	delete(r.doors, d)
	h.count--
	if len(r.doors) == 0 {
		delete(h.watchers, d.topic)
	}
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
	for d := range r.doors {
		d.knock()
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
