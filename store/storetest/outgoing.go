package storetest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
)

func outgoingTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"submit/is kept and read back":               testSubmit,
		"submit/the same head is taken in again":     testSubmitAgain,
		"submit/results come in order":               testSubmitOrder,
		"submit/compare and swap":                    testSubmitConflict,
		"submit/without an account":                  testSubmitStranger,
		"submit/a tombstone erases and keeps heads":  testTombstone,
		"submit/a name is used again after a recall": testNamedAgain,
		"submit/a final message fetched is kept":     testUnlessFetched,
		"serve/marks before it hands out":            testServe,
		"serve/a message that is not here":           testServeUnknown,
		"serve/many at once":                         testServeMany,
		"list/private, public and for one recipient": testList,
		"list/pages have no gaps and no repeats":     testListPages,
		"expire/erases what is over":                 testExpire,
		"values/times keep milliseconds":             testSubmitTimes,
	}
}

func testSubmit(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, ann)
	before, err := m.Log.Place(ctx)
	done(t, "place", err)
	s := ann.write(t, Draft{To: []*Person{bob, cyd, ann}, Body: "hello"})
	r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
	done(t, "submit", r.Err)
	after, err := m.Log.Place(ctx)
	done(t, "place", err)
	if r.Accepted.Again || !r.Accepted.At.Equal(s.Now) || r.Accepted.Seq <= before.Seq || r.Accepted.Place != after {
		t.Fatalf("accepted %+v between %v and %v", r.Accepted, before, after)
	}
	v, err := m.Outgoing.Versions(ctx, s.Head.Ref())
	done(t, "versions", err)
	if len(v) != 1 || v[0].ID != s.Head.ID || v[0].Number != 1 || v[0].Tombstone || !proto.Equal(v[0].Head, s.Head.Signed) || !v[0].At.Equal(s.Now) {
		t.Fatalf("got %+v", v)
	}
	if v[0].Payload != nil || v[0].Slots != nil || v[0].Blobs != nil {
		t.Fatal("versions come with what nobody asked for")
	}
	served, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, message.Address{}, noon())
	done(t, "serve", err)
	if len(served) != 1 || !bytes.Equal(served[0].Payload, s.Payload) || len(served[0].Slots) != 3 {
		t.Fatalf("got %+v", served)
	}
	for i, slot := range s.Slots {
		if !proto.Equal(served[0].Slots[i], slot) {
			t.Fatalf("slot %d differs", i)
		}
	}
	tasks, err := m.Tasks.Claim(ctx, store.TaskAlert, s.Now, time.Minute, 10)
	done(t, "claim", err)
	if len(tasks) != 3 {
		t.Fatalf("%d tasks, want one for each recipient, the author among them", len(tasks))
	}
	for i, to := range s.Head.To {
		k := tasks[i]
		if k.Peer != to || k.Ref != s.Head.Ref() || k.Version != 1 || k.Attempts != 0 || !k.Queued.Equal(s.Now) || k.Kind != store.TaskAlert {
			t.Fatalf("task %d: %+v", i, k)
		}
	}
}

func testSubmitAgain(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	first := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
	done(t, "submit", first.Err)
	edit := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: s.Head, Body: "two"}))
	later := s
	later.Now = s.Now.Add(time.Hour)
	again := m.Outgoing.Submit(ctx, []store.Submission{later, s})
	for _, r := range again {
		if r.Err != nil || !r.Accepted.Again || r.Accepted.Place != first.Accepted.Place || !r.Accepted.At.Equal(first.Accepted.At) {
			t.Fatalf("got %+v, want %+v again", r, first.Accepted)
		}
	}
	v, err := m.Outgoing.Versions(ctx, s.Head.Ref())
	if err != nil || len(v) != 2 || v[1].ID != edit.Head.ID {
		t.Fatalf("versions: got %v, %v", v, err)
	}
	d, err := m.Deliveries.Deliveries(ctx, s.Head.Ref())
	if err != nil || len(d) != 1 || d[0].Version != 2 {
		t.Fatalf("deliveries: got %+v, %v: what is taken in again must not put anything back", d, err)
	}
}

func testSubmitOrder(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, stranger := person(t, "ann"), person(t, "bob"), person(t, "stranger")
	join(t, m, ann)
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	two := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"})
	out := ann.write(t, Draft{To: []*Person{bob}, Prev: two.Head, Body: "three"})
	out.Head = stranger.write(t, Draft{To: []*Person{bob}, Body: "x"}).Head
	other := ann.write(t, Draft{Body: "public"})
	r := m.Outgoing.Submit(ctx, []store.Submission{one, out, two, one, other})
	if len(r) != 5 {
		t.Fatalf("%d results", len(r))
	}
	refused(t, "the second", r[1].Err, message.NotFound)
	for _, i := range []int{0, 2, 3, 4} {
		done(t, "submit", r[i].Err)
	}
	if !r[3].Accepted.Again || r[3].Accepted.Place != r[0].Accepted.Place || !(r[0].Accepted.Seq < r[2].Accepted.Seq && r[2].Accepted.Seq < r[4].Accepted.Seq) {
		t.Fatalf("places: %+v", r)
	}
	if len(m.Outgoing.Submit(ctx, nil)) != 0 {
		t.Fatal("nothing gives results")
	}
}

func testSubmitConflict(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	one := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	two := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"})
	other := ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two, on another device"})
	r := m.Outgoing.Submit(ctx, []store.Submission{two})[0]
	refused(t, "version 2 of nothing", r.Err, message.Conflict)
	if r.Current != nil {
		t.Fatal("a head stands where there is none")
	}
	submitted(t, m, one)
	submitted(t, m, two)
	r = m.Outgoing.Submit(ctx, []store.Submission{other})[0]
	refused(t, "another version 2", r.Err, message.Conflict)
	if !proto.Equal(r.Current, two.Head.Signed) {
		t.Fatal("the head that stands does not come along")
	}
	lost := ann.write(t, Draft{To: []*Person{bob}, Prev: other.Head, Body: "three, after what was not taken"})
	refused(t, "version 3 of another history", m.Outgoing.Submit(ctx, []store.Submission{lost})[0].Err, message.Conflict)
	ahead := ann.write(t, Draft{To: []*Person{bob}, Prev: lost.Head, Body: "four"})
	refused(t, "version 4 after version 2", m.Outgoing.Submit(ctx, []store.Submission{ahead})[0].Err, message.Conflict)
	twin := one
	head := *other.Head
	head.Version, head.Prev = 1, message.ID{}
	twin.Head = &head
	refused(t, "another version 1", m.Outgoing.Submit(ctx, []store.Submission{twin})[0].Err, message.Conflict)
	v, err := m.Outgoing.Versions(ctx, one.Head.Ref())
	if err != nil || len(v) != 2 || v[1].ID != two.Head.ID {
		t.Fatalf("got %v, %v", v, err)
	}
}

func testSubmitStranger(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	s := ann.write(t, Draft{To: []*Person{bob}, Body: "one"})
	refused(t, "an unknown author", m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err, message.NotFound)
	join(t, m, bob)
	done(t, "verdict", m.Policies.SetVerdicts(ctx, bob.Address(), map[message.Address]store.Verdict{ann.Address(): store.Block}))
	refused(t, "an author who is only known", m.Outgoing.Submit(ctx, []store.Submission{s})[0].Err, message.NotFound)
	_, err := m.Outgoing.Versions(ctx, s.Head.Ref())
	refused(t, "versions", err, message.NotFound)
}

func testTombstone(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	one := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
	two := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}))
	end := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: two.Head, Recall: true, At: noon().Add(time.Minute)}))
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: one.Head.Ref()}, bob.Address(), noon())
	done(t, "serve", err)
	if len(v) != 3 || !v[2].Tombstone || v[2].ID != end.Head.ID {
		t.Fatalf("got %+v", v)
	}
	for _, x := range v {
		if len(x.Payload) != 0 || len(x.Slots) != 0 || len(x.Blobs) != 0 || x.Head == nil {
			t.Fatalf("after a recall: %+v", x)
		}
	}
	tasks, err := m.Tasks.Claim(ctx, store.TaskAlert, end.Now, time.Minute, 10)
	if err != nil || len(tasks) != 1 || tasks[0].Version != 3 || !tasks[0].Queued.Equal(end.Now) {
		t.Fatalf("tasks: got %+v, %v", tasks, err)
	}
}

func testNamedAgain(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	one := submitted(t, m, ann.write(t, Draft{Name: "profile", Body: "one"}))
	two := submitted(t, m, ann.write(t, Draft{Prev: one.Head, Recall: true}))
	three := submitted(t, m, ann.write(t, Draft{Name: "profile", Prev: two.Head, Body: "three"}))
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: one.Head.Ref(), After: 1}, message.Address{}, noon())
	if err != nil || len(v) != 2 || !v[0].Tombstone || v[1].Tombstone || !bytes.Equal(v[1].Payload, three.Payload) {
		t.Fatalf("got %+v, %v", v, err)
	}
}

func testUnlessFetched(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	for _, fetched := range []bool{false, true} {
		s := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "final", Terms: message.Final}))
		_, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, message.Address{}, noon())
		done(t, "serve nobody", err)
		if fetched {
			_, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, bob.Address(), noon())
			done(t, "serve", err)
		}
		recall := ann.write(t, Draft{To: []*Person{bob}, Prev: s.Head, Recall: true})
		recall.UnlessFetched = true
		r := m.Outgoing.Submit(ctx, []store.Submission{recall})[0]
		if !fetched {
			done(t, "recall of what nobody has", r.Err)
			continue
		}
		refused(t, "recall of what somebody has", r.Err, message.AlreadyFetched)
		v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, bob.Address(), noon())
		if err != nil || len(v) != 1 || !bytes.Equal(v[0].Payload, s.Payload) {
			t.Fatalf("after a refused recall: %+v, %v", v, err)
		}
	}
}

func testServe(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	one := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "one"}))
	two := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: one.Head, Body: "two"}))
	for after, want := range []int{2, 1, 0, 0} {
		v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: one.Head.Ref(), After: uint64(after)}, bob.Address(), noon())
		done(t, "serve", err)
		if len(v) != want {
			t.Fatalf("after %d: %d versions, want %d", after, len(v), want)
		}
		if want == 0 {
			continue
		}
		if d := deliveries(t, m, one.Head.Ref())[0]; d.State != store.Served || d.Version != 2 {
			t.Fatalf("after %d: the delivery of what was handed out is %+v", after, d)
		}
		if last := v[want-1]; !bytes.Equal(last.Payload, two.Payload) || last.Number != 2 {
			t.Fatalf("after %d: the newest is %+v", after, last)
		}
		if want == 2 && (len(v[0].Payload) != 0 || len(v[0].Slots) != 0 || v[0].Head == nil) {
			t.Fatalf("the older one is %+v", v[0])
		}
	}
}

func testServeUnknown(t *testing.T, m *store.Mail) {
	ann := person(t, "ann")
	join(t, m, ann)
	_, err := store.ServeOne(context.Background(), m.Outgoing, store.ServeItem{Ref: message.Ref{From: ann.Address(), MID: message.MID{1}}}, message.Address{}, noon())
	refused(t, "serve", err, message.NotFound)
	_, err = m.Outgoing.Versions(context.Background(), message.Ref{From: message.Address{3}, MID: message.MID{1}})
	refused(t, "versions", err, message.NotFound)
}

func testList(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, ann, bob)
	both := submitted(t, m, ann.write(t, Draft{To: []*Person{bob, cyd}, Body: "both"}))
	post := submitted(t, m, ann.write(t, Draft{Body: "post"}))
	alone := submitted(t, m, ann.write(t, Draft{To: []*Person{cyd}, Body: "alone"}))
	edit := submitted(t, m, ann.write(t, Draft{To: []*Person{bob, cyd}, Prev: both.Head, Body: "both, edited"}))
	submitted(t, m, bob.write(t, Draft{To: []*Person{cyd}, Body: "of another author"}))
	for name, c := range map[string]struct {
		q    store.ListQuery
		want []message.Ref
	}{
		"all":     {store.ListQuery{}, []message.Ref{post.Head.Ref(), alone.Head.Ref(), both.Head.Ref()}},
		"public":  {store.ListQuery{Public: true}, []message.Ref{post.Head.Ref()}},
		"for bob": {store.ListQuery{To: bob.Address()}, []message.Ref{both.Head.Ref()}},
		"for cyd": {store.ListQuery{To: cyd.Address()}, []message.Ref{alone.Head.Ref(), both.Head.Ref()}},
		"for ann": {store.ListQuery{To: ann.Address()}, nil},
	} {
		c.q.From, c.q.Limit = ann.Address(), 10
		items, more, err := m.Outgoing.List(ctx, c.q)
		if err != nil || more || len(items) != len(c.want) {
			t.Fatalf("%s: got %d, %v, %v, want %d", name, len(items), more, err, len(c.want))
		}
		for i, item := range items {
			last := item.Versions[len(item.Versions)-1]
			if item.Ref != c.want[i] || last.Head == nil {
				t.Fatalf("%s: item %d is %+v", name, i, item)
			}
			if (len(last.Payload) > 0) != c.q.Public || (len(last.Slots) > 0) != !c.q.To.IsZero() {
				t.Fatalf("%s: item %d has %d bytes of payload, %d slots", name, i, len(last.Payload), len(last.Slots))
			}
		}
	}
	items, _, err := m.Outgoing.List(ctx, store.ListQuery{From: ann.Address(), To: bob.Address(), Limit: 1})
	if err != nil || len(items[0].Versions) != 2 || items[0].Versions[1].ID != edit.Head.ID || len(items[0].Versions[0].Slots) != 0 {
		t.Fatalf("both versions: got %+v, %v", items, err)
	}
}

func testListPages(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	want := make(map[message.Ref]bool)
	var first store.Submission
	for i := range 7 {
		s := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "x"}))
		want[s.Head.Ref()] = true
		if i == 0 {
			first = s
		}
	}
	submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Prev: first.Head, Body: "now the newest"}))
	q := store.ListQuery{From: ann.Address(), Limit: 3}
	var last message.Ref
	for more := true; more; {
		var items []store.ListItem
		var err error
		items, more, err = m.Outgoing.List(ctx, q)
		done(t, "list", err)
		for _, i := range items {
			if !want[i.Ref] || i.Seq <= q.After {
				t.Fatalf("%v at %d: twice, or out of order", i.Ref, i.Seq)
			}
			delete(want, i.Ref)
			q.After, last = i.Seq, i.Ref
		}
	}
	if len(want) != 0 || last != first.Head.Ref() {
		t.Fatalf("%d are missing; the last is %v", len(want), last)
	}
	items, more, err := m.Outgoing.List(ctx, q)
	if err != nil || more || len(items) != 0 {
		t.Fatalf("after the end: %v, %v, %v", items, more, err)
	}
}

func testExpire(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	var over []store.Submission
	for range 3 {
		over = append(over, submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "x", Terms: message.Ephemeral, Expires: noon().Add(time.Hour)})))
	}
	stays := submitted(t, m, ann.write(t, Draft{To: []*Person{bob}, Body: "x", Terms: message.Ephemeral, Expires: noon().Add(2 * time.Hour)}))
	before := account(t, m, ann).BytesUsed
	at := noon().Add(time.Hour)
	for i, want := range []int{0, 2, 1, 0} {
		now := at
		if i == 0 {
			now = at.Add(-time.Millisecond)
		}
		n, err := m.Outgoing.Expire(ctx, now, 2)
		if err != nil || n != want {
			t.Fatalf("expire %d: got %d, %v, want %d", i, n, err, want)
		}
	}
	for _, s := range over {
		v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: s.Head.Ref()}, message.Address{}, noon())
		if err != nil || len(v) != 1 || len(v[0].Payload)+len(v[0].Slots) != 0 || v[0].Head == nil {
			t.Fatalf("after expiry: %+v, %v", v, err)
		}
	}
	v, err := store.ServeOne(ctx, m.Outgoing, store.ServeItem{Ref: stays.Head.Ref()}, message.Address{}, noon())
	if err != nil || len(v[0].Payload) == 0 {
		t.Fatalf("what is not over: %+v, %v", v, err)
	}
	if freed := before - account(t, m, ann).BytesUsed; freed < int64(3*len(over[0].Payload)) {
		t.Fatalf("%d bytes were freed", freed)
	}
}

func testSubmitTimes(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	s := ann.write(t, Draft{Body: "x"})
	s.Now = noon().Add(1500 * time.Microsecond).In(time.FixedZone("far", 3600))
	r := m.Outgoing.Submit(ctx, []store.Submission{s})[0]
	done(t, "submit", r.Err)
	v, err := m.Outgoing.Versions(ctx, s.Head.Ref())
	done(t, "versions", err)
	want := noon().Add(time.Millisecond)
	if !r.Accepted.At.Equal(want) || !v[0].At.Equal(want) || v[0].At.Location() != time.UTC || r.Accepted.At.Location() != time.UTC {
		t.Fatalf("got %v and %v, want %v", r.Accepted.At, v[0].At, want)
	}
}
