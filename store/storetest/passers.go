package storetest

import (
	"context"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
)

func passerTests() map[string]func(*testing.T, *store.Mail) {
	return map[string]func(*testing.T, *store.Mail){
		"passers/are added, read and removed": testPassers,
		"passers/end with their account":      testPassersEnd,
		"passers/one of many gets a name":     testPasserRace,
	}
}

func testPassers(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	join(t, m, bob)
	_, err := m.Passers.Passer(ctx, "a")
	refused(t, "one that is not there", err, message.NotFound)
	refused(t, "for nobody", m.Passers.AddPasser(ctx, store.Passer{Name: "a", Address: person(t, "cyd").Address(), Added: noon()}), message.NotFound)
	want := []store.Passer{
		{Name: "B", Address: bob.Address(), Secret: [32]byte{2}, Added: noon()},
		{Name: "a", Address: ann.Address(), Secret: [32]byte{1, 31: 9}, Added: noon()},
		{Name: "é", Address: ann.Address(), Secret: [32]byte{3}, Added: noon()},
	}
	for _, p := range want {
		done(t, "add", m.Passers.AddPasser(ctx, p))
		refused(t, "add again", m.Passers.AddPasser(ctx, store.Passer{Name: p.Name, Address: bob.Address(), Added: noon()}), message.NameTaken)
		got, err := m.Passers.Passer(ctx, p.Name)
		done(t, "read", err)
		if got != p {
			t.Fatalf("got %+v, want %+v", got, p)
		}
	}
	for _, page := range []struct {
		after       string
		limit, from int
		to          int
	}{{"", 10, 0, 3}, {"", 2, 0, 2}, {"B", 10, 1, 3}, {"é", 10, 3, 3}, {"", 0, 0, 0}} {
		got, err := m.Passers.Passers(ctx, page.after, page.limit)
		done(t, "list", err)
		if len(got) != page.to-page.from {
			t.Fatalf("after %q: got %+v", page.after, got)
		}
		for n, p := range got {
			if p != want[page.from+n] {
				t.Fatalf("after %q: got %+v", page.after, got)
			}
		}
	}
	done(t, "remove", m.Passers.RemovePasser(ctx, "a"))
	refused(t, "remove again", m.Passers.RemovePasser(ctx, "a"), message.NotFound)
	_, err = m.Passers.Passer(ctx, "a")
	refused(t, "one that was removed", err, message.NotFound)
}

func testPassersEnd(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann, bob := person(t, "ann"), person(t, "bob")
	join(t, m, ann)
	join(t, m, bob)
	for name, p := range map[string]*Person{"a": ann, "b": bob} {
		done(t, "add", m.Passers.AddPasser(ctx, store.Passer{Name: name, Address: p.Address(), Added: noon()}))
	}
	done(t, "remove the account", m.Accounts.RemoveAccount(ctx, ann.Address()))
	all, err := m.Passers.Passers(ctx, "", 10)
	done(t, "list", err)
	if len(all) != 1 || all[0].Name != "b" {
		t.Fatalf("left: %+v", all)
	}
}

func testPasserRace(t *testing.T, m *store.Mail) {
	ctx := context.Background()
	ann := person(t, "ann")
	join(t, m, ann)
	in := 0
	for _, err := range together(4, func(i int) error {
		return m.Passers.AddPasser(ctx, store.Passer{Name: "a", Address: ann.Address(), Secret: [32]byte{byte(i)}, Added: noon()})
	}) {
		if err == nil {
			in++
		} else {
			refused(t, "add", err, message.NameTaken)
		}
	}
	if in != 1 {
		t.Fatalf("%d got one name", in)
	}
}
