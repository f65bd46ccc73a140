package whisper

import "time"

// seen remembers ids for a time, and so many of them: whoever sends new ids
// without end costs no more memory than that.
type seen struct {
	max   int
	age   time.Duration
	at    map[string]time.Time
	order []string
	first int
}

func newSeen(limit int, age time.Duration) *seen {
	return &seen{max: limit, age: age, at: make(map[string]time.Time)}
}

// add notes an id and reports whether it is new.
func (s *seen) add(now time.Time, id string) bool {
	s.forget(now)
	if s.has(id) {
		return false
	}
	s.at[id] = now
	s.order = append(s.order, id)
	if len(s.at) > s.max {
		s.drop()
	}
	return true
}

// has reports whether an id was seen.
func (s *seen) has(id string) bool {
	_, ok := s.at[id]
	return ok
}

// forget drops what is too old.
func (s *seen) forget(now time.Time) {
	for s.first < len(s.order) && now.Sub(s.at[s.order[s.first]]) > s.age {
		s.drop()
	}
}

// drop forgets the oldest id.
func (s *seen) drop() {
	delete(s.at, s.order[s.first])
	s.first++
	if s.first > s.max {
		s.order = append(s.order[:0], s.order[s.first:]...)
		s.first = 0
	}
}

// kept are the newest messages as they came, for those who want them again.
type kept struct {
	byID  map[string]*object
	order []*object
	bytes int
}

func newKept() *kept { return &kept{byID: make(map[string]*object)} }

// add keeps a message and lets the oldest go where there are too many.
func (k *kept) add(o *object) {
	k.byID[o.ID] = o
	k.order = append(k.order, o)
	k.bytes += o.size()
	for len(k.order) > keptMessages || k.bytes > keptBytes {
		oldest := k.order[0]
		k.bytes -= oldest.size()
		delete(k.byID, oldest.ID)
		k.order = k.order[1:]
	}
}

// last are the newest messages, at most n, oldest first.
func (k *kept) last(n int) []*object { return k.order[max(0, len(k.order)-n):] }

// size is about how much room an object takes.
func (o *object) size() int {
	n := 128
	for _, f := range o.fields {
		n += len(f.key) + len(f.value) + 64
	}
	return n + len(o.File)
}
