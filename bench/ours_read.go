package bench

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// A post office brings alerts to a mail server: it is the mail server of the
// senders, and only its keys are needed for that.
type office struct {
	host    *Host // of the readers
	keys    *message.Keyring
	client  *rpc.Client
	peer    *rpc.Peer
	senders []*person
	readers []*person
	presses []*press // senders[i] to readers[i]
	bundles []*wirev1.Identity
}

// newOffice makes n senders at the office, and n readers at h who have accepted
// them.
func newOffice(dir string, n int) (*office, error) {
	h, err := openMail(dir)
	if err != nil {
		return nil, err
	}
	o := &office{host: h}
	if err := o.fill(n); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *office) fill(n int) error {
	var err error
	if o.keys, err = keyring(message.RoleServer); err != nil {
		return err
	}
	own, err := routed(o.keys, message.Route{Hosts: []message.Host{{URL: "https://127.0.0.1:1"}}})
	if err != nil {
		return err
	}
	o.bundles = append(o.bundles, own.Wire())
	if o.client, o.peer, err = o.host.asker(o.keys); err != nil {
		return err
	}
	if o.readers, err = o.host.residents(n); err != nil {
		return err
	}
	var made stock[*person]
	if err := made.add(n, o.sender); err != nil {
		return err
	}
	if o.senders, err = made.take(n); err != nil {
		return err
	}
	for i, s := range o.senders {
		p, err := newPress(s, o.readers[i].keys.Chain)
		if err != nil {
			return err
		}
		o.presses = append(o.presses, p)
		rule := &wirev1.Rule{Address: s.keys.Address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}
		if _, err := o.readers[i].peer.Mailbox().Policy(everyone(), &wirev1.PolicyRequest{Rules: []*wirev1.Rule{rule}}); err != nil {
			return err
		}
		sub, err := p.print(0)
		if err != nil {
			return err
		}
		// The first alert of each sender comes with bundles; later ones need none.
		if err := o.bring(everyone(), []*wirev1.AlertItem{alert(sub, o.readers[i].keys.Address())}, s.identity.Wire()); err != nil {
			return fmt.Errorf("first alert: %w", err)
		}
	}
	return nil
}

// sender makes somebody whom the office hosts.
func (o *office) sender(int) (*person, error) {
	k, err := keyring(message.RoleUser)
	if err != nil {
		return nil, err
	}
	services, err := hosted(o.keys, k.Address())
	if err != nil {
		return nil, err
	}
	i, err := routed(k, message.Route{Services: services})
	return &person{keys: k, identity: i}, err
}

// bring brings alerts in one call.
func (o *office) bring(ctx context.Context, items []*wirev1.AlertItem, with ...*wirev1.Identity) error {
	req := &wirev1.AlertRequest{Items: items}
	if len(with) > 0 {
		req.Identities = append(with, o.bundles...)
	}
	res, err := o.peer.Exchange().Alert(ctx, req)
	if err != nil {
		return err
	}
	if len(res.GetResults()) != len(items) {
		return errShort
	}
	for _, r := range res.GetResults() {
		if err := refused(r.GetRefusal()); err != nil {
			return err
		}
	}
	return nil
}

func (o *office) close() {
	leave(o.readers)
	if o.client != nil {
		o.client.Close()
	}
	o.host.close()
}

// print makes the next alert of one sender.
func (o *office) print(i int) (*wirev1.AlertItem, error) {
	sub, err := o.presses[i].print(0)
	if err != nil {
		return nil, err
	}
	return alert(sub, o.readers[i].keys.Address()), nil
}

// alerts brings each alerts a call, from as many senders to as many readers.
func alerts(workers, each int) Case {
	return Case{Workers: workers, Each: each, Open: func(dir string) (*Run, error) {
		o, err := newOffice(dir, clients)
		if err != nil {
			return nil, err
		}
		var ready stock[*wirev1.AlertItem]
		return &Run{
			Close: o.close,
			Prepare: func(n int) error {
				return ready.add(n*each, func(i int) (*wirev1.AlertItem, error) { return o.print(i % clients) })
			},
			Do: func(int) error {
				items, err := ready.take(each)
				if err != nil {
					return err
				}
				return o.bring(everyone(), items)
			},
		}, nil
	}}
}

// inboxPages reads pages of 50 entries, one owner a worker.
func inboxPages() Case {
	const page, kept = 50, 100
	return Case{Workers: clients, Each: page, Open: func(dir string) (*Run, error) {
		o, err := newOffice(dir, clients)
		if err != nil {
			return nil, err
		}
		for i := range clients {
			items := make([]*wirev1.AlertItem, kept-1) // one came with the bundles
			for n := range items {
				if items[n], err = o.print(i); err != nil {
					break
				}
			}
			if err == nil {
				err = o.bring(everyone(), items)
			}
			if err != nil {
				o.close()
				return nil, err
			}
		}
		cursors := make([]*wirev1.Cursor, clients)
		return &Run{Close: o.close, Do: func(w int) error {
			res, err := o.readers[w].peer.Mailbox().Inbox(everyone(), &wirev1.InboxRequest{After: cursors[w], Limit: page})
			if err != nil {
				return err
			}
			if len(res.GetEntries()) != page {
				return fmt.Errorf("a page of %d: %w", len(res.GetEntries()), errShort)
			}
			if cursors[w] = res.GetNext(); !res.GetMore() {
				cursors[w] = nil
			}
			return nil
		}}, nil
	}}
}

// submitAll keeps messages of one author without the way through the door.
func (m *mailroom) submitAll(i, n int) ([][]byte, error) {
	var made stock[*wirev1.Submission]
	if err := made.add(n, m.presses[i].print); err != nil {
		return nil, err
	}
	var mids [][]byte
	author := m.people[i].keys.Chain
	for n > 0 {
		all, err := made.take(min(n, 256))
		if err != nil {
			return nil, err
		}
		n -= len(all)
		subs := make([]store.Submission, len(all))
		for j, w := range all {
			h, err := message.OpenHead(m.host.verifier, author, w.GetHead())
			if err != nil {
				return nil, err
			}
			subs[j] = store.Submission{Head: h, Slots: w.GetSlots(), Payload: w.GetPayload(), Now: h.Time}
			mids = append(mids, h.MID.Bytes())
		}
		for _, r := range m.host.mail.Outgoing.Submit(everyone(), subs) {
			if r.Err != nil {
				return nil, r.Err
			}
		}
	}
	return mids, nil
}

// pulls reads 50 messages a call, one reader a worker: the same ones again and
// again, or with first each once, which commits a mark before it answers.
func pulls(first bool) Case {
	const page = 50
	return Case{Workers: clients, Each: page, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, clients, false)
		if err != nil {
			return nil, err
		}
		pages := make([]stock[[][]byte], clients)
		r := &Run{Close: m.close}
		fill := func(n int) error {
			for i := range clients {
				mids, err := m.submitAll(i, n*page)
				if err != nil {
					return err
				}
				for p := range n {
					pages[i].ready = append(pages[i].ready, mids[p*page:][:page])
				}
			}
			return nil
		}
		if first {
			r.Prepare = func(n int) error { return fill(min(n/clients+1, 40)) }
		} else if err := fill(1); err != nil {
			m.close()
			return nil, err
		}
		r.Do = func(w int) error {
			i := (w + clients - 1) % clients // who writes to w
			var mids [][]byte
			if first {
				taken, err := pages[i].take(1)
				if err != nil {
					return err
				}
				mids = taken[0]
			} else {
				mids = pages[i].ready[0]
			}
			return m.pull(w, i, mids)
		}
		return r, nil
	}}
}

// pull reads messages of one author for one reader.
func (m *mailroom) pull(reader, author int, mids [][]byte) error {
	req := &wirev1.PullRequest{For: m.people[reader].keys.Address().Bytes()}
	from := m.people[author].keys.Address().Bytes()
	for _, id := range mids {
		req.Items = append(req.Items, &wirev1.FetchItem{From: from, Mid: id})
	}
	res, err := m.people[reader].peer.Exchange().Pull(everyone(), req)
	if err != nil {
		return err
	}
	if len(res.GetResults()) != len(mids) {
		return errShort
	}
	for _, p := range res.GetResults() {
		if err := refused(p.GetRefusal()); err != nil {
			return err
		}
		if len(p.GetPayload()) == 0 {
			return errShort
		}
	}
	return nil
}

// postPages reads pages of 50 public messages of one author, as nobody.
func postPages() Case {
	const page, kept = 50, 200
	return Case{Workers: clients, Each: page, Open: func(dir string) (*Run, error) {
		m, err := newMailroom(dir, 1, true)
		if err != nil {
			return nil, err
		}
		if _, err := m.submitAll(0, kept); err != nil {
			m.close()
			return nil, err
		}
		strangers, err := m.host.strangers(clients)
		if err != nil {
			m.close()
			return nil, err
		}
		author := m.people[0].keys.Address().Bytes()
		cursors := make([]*wirev1.Cursor, clients)
		return &Run{Close: func() { leave(strangers); m.close() }, Do: func(w int) error {
			res, err := strangers[w].peer.Exchange().Posts(everyone(), &wirev1.PostsRequest{Address: author, After: cursors[w], Limit: page})
			if err != nil {
				return err
			}
			if len(res.GetPosts()) != page {
				return errShort
			}
			if cursors[w] = res.GetNext(); !res.GetMore() {
				cursors[w] = nil
			}
			return nil
		}}, nil
	}}
}
