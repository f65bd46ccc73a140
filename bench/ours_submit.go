package bench

import (
	"sync"

	"connectrpc.com/connect"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// mailroom is a mail server with people on it who write to each other.
type mailroom struct {
	host    *Host
	people  []*person
	presses []*press
	ready   []stock[*wirev1.Submission] // of each person
}

// newMailroom makes one of n people; public ones post to everybody.
func newMailroom(dir string, n int, public bool) (*mailroom, error) {
	h, err := openMail(dir)
	if err != nil {
		return nil, err
	}
	m := &mailroom{host: h, ready: make([]stock[*wirev1.Submission], n)}
	if m.people, err = h.residents(n); err == nil {
		m.presses, err = presses(m.people, public)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *mailroom) close() {
	leave(m.people)
	m.host.close()
}

// prepare prints for n calls of each messages, spread over all people.
func (m *mailroom) prepare(each int) func(int) error {
	return func(n int) error {
		for i := range m.people {
			if err := m.ready[i].add((n/len(m.people)+2)*each, m.presses[i].print); err != nil {
				return err
			}
		}
		return nil
	}
}

// submits sends each messages a call. Where there are more workers than people,
// each person has several calls in flight.
func submits(people, workers, each int, public bool) Case {
	return Case{Workers: workers, Each: each, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, people, public)
		if err != nil {
			return nil, err
		}
		return &Run{Close: m.close, Prepare: m.prepare(each), Do: func(w int) error {
			i := w % people
			subs, err := m.ready[i].take(each)
			if err != nil {
				return err
			}
			res, err := m.people[i].peer.Mailbox().Submit(everyone(), &wirev1.SubmitRequest{Submissions: subs})
			if err != nil {
				return err
			}
			if len(res.GetResults()) != each {
				return errShort
			}
			for _, r := range res.GetResults() {
				if err := refused(r.GetRefusal()); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	}}
}

// streams sends one message a call, over one stream a person. Where there are
// more workers than people, each stream has several in flight.
func streams(people, workers int) Case {
	return Case{Workers: workers, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, people, false)
		if err != nil {
			return nil, err
		}
		all := make([]*submitStream, people)
		for i, p := range m.people {
			if all[i], err = newSubmitStream(p); err != nil {
				m.close()
				return nil, err
			}
		}
		return &Run{
			Prepare: m.prepare(1),
			Do: func(w int) error {
				i := w % people
				subs, err := m.ready[i].take(1)
				if err != nil {
					return err
				}
				return all[i].submit(subs[0])
			},
			Close: func() {
				for _, s := range all {
					s.close()
				}
				m.close()
			},
		}, nil
	}}
}

// submitStream lets several callers wait for their answers on one stream, which
// come in order.
type submitStream struct {
	stream *connect.BidiStreamForClientSimple[wirev1.Submission, wirev1.SubmitResult]

	mu      sync.Mutex // held while sending, so that waiting is in the order sent
	waiting chan chan error
	done    chan struct{}
}

func newSubmitStream(p *person) (*submitStream, error) {
	s, err := p.peer.Mailbox().SubmitStream(everyone())
	if err != nil {
		return nil, err
	}
	t := &submitStream{stream: s, waiting: make(chan chan error, 4096), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for w := range t.waiting {
			res, err := t.stream.Receive()
			if err == nil {
				err = refused(res.GetRefusal())
			}
			w <- err
		}
	}()
	return t, nil
}

func (t *submitStream) submit(s *wirev1.Submission) error {
	answer := make(chan error, 1)
	t.mu.Lock()
	err := t.stream.Send(s)
	if err == nil {
		t.waiting <- answer
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return <-answer
}

func (t *submitStream) close() {
	_ = t.stream.CloseRequest()
	close(t.waiting)
	<-t.done
	_ = t.stream.CloseResponse()
}
