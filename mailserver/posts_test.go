package mailserver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// posts reads all public messages of p's, page by page, as somebody else.
func (p *person) posts(of *person, limit uint32) []*wirev1.Post {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	peer, err := p.client.Peer(of.home.identity)
	must(p.t, err)
	var all []*wirev1.Post
	var after *wirev1.Cursor
	for {
		resp, err := peer.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: of.address().Bytes(), After: after, Limit: limit})
		must(p.t, err)
		all, after = append(all, resp.GetPosts()...), resp.GetNext()
		if !resp.GetMore() {
			return all
		}
	}
}

// TestPosts: anybody reads what is public, and nothing else, in its newest state.
func TestPosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one")
	ann, eve := w.person("ann", one), w.stranger("eve")
	ann.send(ann.letter("for ann alone", ann))
	var heads []*message.Head
	for n := range 5 {
		heads = append(heads, ann.send(ann.letter(fmt.Sprint("post ", n))))
	}
	named := ann.send(ann.draft(message.Draft{Terms: message.Revisable, Name: "profile"}, "I am ann"))
	edited := ann.send(ann.edit(heads[1], "post 1, mended"))
	ann.send(ann.recall(heads[2]))

	got := map[message.MID]string{}
	for _, p := range eve.posts(ann, 2) {
		last := p.GetHeads()[len(p.GetHeads())-1]
		c, err := message.ParseHead(last)
		must(t, err)
		got[c.MID()] = eve.open(ann, &wirev1.Pulled{Heads: p.GetHeads(), Payload: p.GetPayload()})
	}
	want := map[message.MID]string{
		heads[0].MID: "post 0", edited.MID: "post 1, mended", heads[2].MID: "(recalled)", heads[3].MID: "post 3", heads[4].MID: "post 4", named.MID: "I am ann",
	}
	if len(got) != len(want) {
		t.Fatalf("%d posts, not %d: %v", len(got), len(want), got)
	}
	for mid, text := range want {
		if got[mid] != text {
			t.Errorf("%s: %q, want %q", mid, got[mid], text)
		}
	}
	// By name, directly.
	r, err := w.pull(eve.client, one, &wirev1.PullRequest{Items: []*wirev1.FetchItem{{From: ann.address().Bytes(), Mid: message.NamedMID("profile").Bytes()}}})
	must(t, err)
	if text := eve.open(ann, r); text != "I am ann" {
		t.Fatal(text)
	}
	// A name may be used again after its tombstone.
	stone := ann.send(ann.recall(named))
	ann.send(ann.edit(stone, "I am ann again"))

	peer, err := eve.client.Peer(one.identity)
	must(t, err)
	ctx, cancel := eve.timeout()
	defer cancel()
	_, err = peer.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: eve.address().Bytes()})
	refused(t, err, message.NotFound)
	_, err = peer.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: ann.address().Bytes(), Limit: 101})
	refused(t, err, message.Invalid)
}

// TestFollow: followers and watchers hear at once, and what happened before
// they came is not lost on them.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	at, err := bob.client.Peer(one.identity)
	must(t, err)
	follow, err := at.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: ann.address().Bytes()})
	must(t, err)
	watch, err := bob.peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{})
	must(t, err)
	if !follow.Receive() || !watch.Receive() {
		t.Fatal("no first cursor", follow.Err(), watch.Err())
	}
	before, seen := follow.Msg().GetNow().GetSeq(), watch.Msg().GetNow().GetSeq()
	ann.send(ann.letter("to all"))
	if !follow.Receive() || follow.Msg().GetNow().GetSeq() <= before {
		t.Fatal("the follower heard nothing", follow.Err())
	}
	h := ann.send(ann.letter("to bob", bob))
	if !watch.Receive() || watch.Msg().GetNow().GetSeq() <= seen {
		t.Fatal("the watcher heard nothing", watch.Err())
	}
	if bob.entry(h.Ref()) == nil {
		t.Fatal("woken before there was anything")
	}
	cancel()
	follow.Close()
	watch.Close()
	// Of one address only so many may watch.
	ctx2, cancel2 := context.WithTimeout(w.ctx, time.Minute)
	defer cancel2()
	for n := range 17 {
		s, err := bob.peer.Mailbox().Watch(ctx2, &wirev1.WatchRequest{})
		must(t, err)
		if ok := s.Receive(); ok != (n < 16) {
			t.Fatalf("watcher %d: %v, %v", n, ok, s.Err())
		}
		if n == 16 {
			refused(t, s.Err(), message.RateLimited)
		}
	}
}
