package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
)

// testServeMany serves small and large, private and public, refused, recalled
// and unknown messages of two authors in one call.
func testServeMany(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob, cyd := person(t, "ann"), person(t, "bob"), person(t, "cyd")
	join(t, m, ann, cyd)
	to := []*Person{bob}
	terms := Draft{To: to, Body: "small", Terms: message.Final}
	small := submitted(t, m, ann.write(t, terms))
	large := submitted(t, m, cyd.write(t, Draft{To: to, Body: strings.Repeat("large ", 20_000)}))
	post := submitted(t, m, ann.write(t, Draft{Body: "post"}))
	kept := submitted(t, m, ann.write(t, terms))
	old := submitted(t, m, ann.write(t, Draft{To: to, Body: "old"}))
	edited := submitted(t, m, ann.write(t, Draft{To: to, Prev: old.Head, Body: strings.Repeat("edited ", 20_000)}))
	gone := submitted(t, m, ann.write(t, Draft{To: to, Body: "gone"}))
	recall := submitted(t, m, ann.write(t, Draft{To: to, Prev: gone.Head, Recall: true}))
	missing := message.Ref{From: ann.Address(), MID: message.MID{1}}
	other := message.Ref{From: cyd.Address(), MID: small.Head.MID}
	cases := []struct {
		what     string
		item     store.ServeItem
		versions int
		last     *store.Submission
		err      message.Code
	}{
		{"large", store.ServeItem{Ref: large.Head.Ref()}, 1, &large, 0},
		{"missing", store.ServeItem{Ref: missing}, 0, nil, message.NotFound},
		{"small", store.ServeItem{Ref: small.Head.Ref()}, 1, &small, 0},
		{"kept back", store.ServeItem{Ref: kept.Head.Ref()}, 0, nil, message.Denied},
		{"public", store.ServeItem{Ref: post.Head.Ref()}, 1, &post, 0},
		{"both versions", store.ServeItem{Ref: old.Head.Ref()}, 2, &edited, 0},
		{"one version", store.ServeItem{Ref: old.Head.Ref(), After: 1}, 1, &edited, 0},
		{"nothing newer", store.ServeItem{Ref: old.Head.Ref(), After: 2}, 0, nil, 0},
		{"far ahead", store.ServeItem{Ref: old.Head.Ref(), After: 1 << 63}, 0, nil, 0},
		{"another author's", store.ServeItem{Ref: other}, 0, nil, message.NotFound},
		{"recalled", store.ServeItem{Ref: gone.Head.Ref()}, 2, &recall, 0},
		{"small again", store.ServeItem{Ref: small.Head.Ref()}, 1, &small, 0},
	}
	q := store.ServeQuery{Reader: bob.Address(), Now: noon()}
	for _, c := range cases {
		q.Items = append(q.Items, c.item)
	}
	asked := make([]message.ID, len(cases))
	q.May = func(i int, heads []store.Version) error {
		asked[i] = heads[len(heads)-1].ID
		if i == 3 {
			return message.Denied
		}
		return nil
	}
	for i, got := range m.Outgoing.Serve(ctx, q) {
		c := cases[i]
		if !is(got.Err, c.err) || len(got.Versions) != c.versions {
			t.Fatalf("%s: got %d versions, %v", c.what, len(got.Versions), got.Err)
		}
		if c.last == nil {
			continue
		}
		last := got.Versions[c.versions-1]
		if last.ID != c.last.Head.ID || last.ID != asked[i] || !bytes.Equal(last.Payload, c.last.Payload) || len(last.Slots) != len(c.last.Slots) {
			t.Fatalf("%s: the newest is %v with %d bytes and %d slots", c.what, last.ID, len(last.Payload), len(last.Slots))
		}
	}
	// What left is marked, and what was kept back is not.
	for s, want := range map[*store.Submission]message.Code{&small: message.AlreadyFetched, &kept: 0} {
		end := ann.write(t, Draft{To: to, Prev: s.Head, Recall: true})
		end.UnlessFetched = true
		if r := m.Outgoing.Submit(ctx, []store.Submission{end})[0]; !is(r.Err, want) {
			t.Fatalf("recall: got %v, want %v", r.Err, want)
		}
	}
	d, err := m.Deliveries.Deliveries(ctx, large.Head.Ref())
	if err != nil || len(d) != 1 || d[0].State != store.Served || d[0].Version != 1 || !d[0].Time.Equal(noon()) {
		t.Fatalf("the delivery is %+v, %v", d, err)
	}
}

// is reports whether err wraps code, or is none where code is zero.
func is(err error, code message.Code) bool {
	if code == 0 {
		return err == nil
	}
	return errors.Is(err, code)
}
