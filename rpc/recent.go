package rpc

import (
	"container/list"
	"sync"
)

// recent keeps the limit most recently used values. What it forgets is handed to
// dropped, outside the lock. Strangers decide how many keys there are, so nothing
// here grows without a limit.
type recent[K comparable, V any] struct {
	limit   int
	dropped func(V)

	mu    sync.Mutex
	order *list.List // of *kept, most recently used first
	index map[K]*list.Element
}

type kept[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](limit int, dropped func(V)) *recent[K, V] {
	return &recent[K, V]{limit: limit, dropped: dropped, order: list.New(), index: make(map[K]*list.Element)}
}

// find returns the value of key and counts it as used.
func (r *recent[K, V]) find(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.index[key]
	if !ok {
		var none V
		return none, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*kept[K, V]).value, true
}

// put keeps value under key, in place of what was there.
func (r *recent[K, V]) put(key K, value V) {
	var gone []V
	r.mu.Lock()
	if e, ok := r.index[key]; ok {
		k := e.Value.(*kept[K, V])
		gone = append(gone, k.value)
		k.value = value
		r.order.MoveToFront(e)
	} else {
		r.index[key] = r.order.PushFront(&kept[K, V]{key, value})
	}
	for r.order.Len() > r.limit {
		gone = append(gone, r.remove(r.order.Back()))
	}
	r.mu.Unlock()
	r.drop(gone)
}

// forget drops every value that which reports true for.
func (r *recent[K, V]) forget(which func(V) bool) {
	var gone []V
	r.mu.Lock()
	for e := r.order.Front(); e != nil; {
		next := e.Next()
		if which(e.Value.(*kept[K, V]).value) {
			gone = append(gone, r.remove(e))
		}
		e = next
	}
	r.mu.Unlock()
	r.drop(gone)
}

// remove takes e out; the caller holds mu.
func (r *recent[K, V]) remove(e *list.Element) V {
	k := r.order.Remove(e).(*kept[K, V])
	delete(r.index, k.key)
	return k.value
}

func (r *recent[K, V]) drop(gone []V) {
	if r.dropped == nil {
		return
	}
	for _, v := range gone {
		r.dropped(v)
	}
}
