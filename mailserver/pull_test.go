package mailserver_test

import (
	"context"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// pull asks a host directly.
func (w *world) pull(c *rpc.Client, from *host, req *wirev1.PullRequest) (*wirev1.Pulled, error) {
	w.t.Helper()
	peer, err := c.Peer(from.identity)
	must(w.t, err)
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	resp, err := peer.Exchange().Pull(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.GetResults()[0], message.OpenRefusal(resp.GetResults()[0].GetRefusal())
}

// TestPullEnemies: a private message is for its recipients and for the servers
// in their routes. Everybody else hears the same as for one that is not there.
func TestPullEnemies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two, rogue := w.host("one"), w.host("two"), w.host("rogue")
	ann, bob, eve := w.person("ann", one), w.person("bob", two), w.person("eve", rogue)
	dave := w.stranger("dave")
	h := ann.send(ann.letter("hello", bob))
	item := []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: h.MID.Bytes()}}
	bundles := []*wirev1.Identity{ann.identity.Wire(), bob.identity.Wire(), eve.identity.Wire(), rogue.identity.Wire(), two.identity.Wire()}

	cases := []struct {
		name string
		as   *rpc.Client
		req  *wirev1.PullRequest
		want message.Code
	}{
		{"nobody", eve.client, &wirev1.PullRequest{Items: item}, message.NotFound},
		{"eve for herself", eve.client, &wirev1.PullRequest{For: eve.address().Bytes(), Items: item, Identities: bundles}, message.NotFound},
		{"eve for bob", eve.client, &wirev1.PullRequest{For: bob.address().Bytes(), Items: item, Identities: bundles}, message.NotFound},
		{"eve's server for bob", w.asHost(rogue, "rogue"), &wirev1.PullRequest{For: bob.address().Bytes(), Items: item, Identities: bundles}, message.NotFound},
		{"bob's server for ann", w.asHost(two, "two"), &wirev1.PullRequest{For: ann.address().Bytes(), Items: item, Identities: bundles}, message.NotFound},
		{"somebody new without a bundle", dave.client, &wirev1.PullRequest{For: dave.address().Bytes(), Items: item}, message.NeedBundle},
		{"what is not there", bob.client, &wirev1.PullRequest{For: bob.address().Bytes(), Items: []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: []byte("0123456789abcdef")}}, Identities: bundles}, message.NotFound},
		{"no mid", bob.client, &wirev1.PullRequest{For: bob.address().Bytes(), Items: []*wirev1.FetchItem{{From: h.From.Bytes()}}, Identities: bundles}, message.Invalid},
	}
	for _, c := range cases {
		if _, err := w.pull(c.as, one, c.req); message.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if s := ann.status(h.MID, bob).GetState(); s == wirev1.DeliveryState_DELIVERY_STATE_SERVED {
		t.Fatal("somebody else's try counts as served")
	}
	for name, as := range map[string]*rpc.Client{"bob": bob.client, "bob's server": w.asHost(two, "two")} {
		r, err := w.pull(as, one, &wirev1.PullRequest{For: bob.address().Bytes(), Items: item, Identities: bundles})
		must(t, err)
		if got := bob.open(ann, r); got != "hello" {
			t.Errorf("%s reads %q", name, got)
		}
	}
	w.until("served", func() bool { return ann.status(h.MID, bob).GetState() >= wirev1.DeliveryState_DELIVERY_STATE_SERVED })
}

// TestFinal: a final message has one version, and can be recalled until
// somebody has fetched it.
func TestFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	final := message.Draft{Terms: message.Final}

	read := ann.send(ann.draft(final, "it is so", bob))
	bob.awaits(read)
	_, err := ann.trySend(forcedEdit(t, ann, read, bob))
	refused(t, err, message.Contract)
	if got := bob.reads(ann, read.Ref()); got != "it is so" {
		t.Fatal(got)
	}
	_, err = ann.trySend(ann.recall(read))
	refused(t, err, message.AlreadyFetched)

	unread := ann.send(ann.draft(final, "or not", bob))
	bob.awaits(unread)
	ann.send(ann.recall(unread))
}

// forcedEdit is a second version of a final message, which Seal would refuse.
func forcedEdit(t *testing.T, p *person, prev *message.Head, to *person) *message.Sealed {
	t.Helper()
	lie := *prev
	lie.Terms = message.Revisable
	s := p.draft(message.Draft{Prev: &lie}, "it is otherwise", to)
	return s
}

// TestTwoDevices: of two edits of one version, one is taken; the other is told
// what stands.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one")
	ann := w.person("ann", one)
	first := ann.send(ann.letter("v1", ann))
	a := ann.send(ann.edit(first, "from the phone", ann))
	r, err := ann.trySend(ann.edit(first, "from the desk", ann))
	refused(t, err, message.Conflict)
	claim, err := message.ParseHead(r.GetCurrent())
	must(t, err)
	if claim.ID() != a.ID {
		t.Fatal("the conflict does not show what stands")
	}
	// The same again is no conflict.
	again, err := ann.trySend(&message.Sealed{Head: first, Payload: nil})
	refused(t, err, message.Invalid)
	_ = again
}
