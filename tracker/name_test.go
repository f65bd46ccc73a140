package tracker_test

import (
	"errors"
	"strings"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/tracker"
)

// hostPort is host:port of a site, as it stands in name@host.
func (s *site) hostPort() string { return strings.TrimPrefix(s.ref.URL, "https://") }

func TestNames(t *testing.T) {
	s := honest(t, func(c *tracker.Config) { c.Reserved, c.Limits.Names = []string{"boss"}, 2 })
	ann, bob := newHosted(t), newHosted(t)
	publishTo(t, s, ann.publication(), bob.publication())
	asAnn, _ := asker(t, ann.user, s)
	asBob, _ := asker(t, bob.user, s)
	for range 2 {
		record := must[*message.NameRecord](t)(asAnn.Claim(t.Context(), s.ref, "ann"))
		if record.Address != ann.user.Address() || record.Tracker != s.keys.Address() {
			t.Errorf("record %+v", record)
		}
	}
	for name, want := range map[string]message.Code{
		"ann": message.NameTaken, "admin": message.NameTaken, "boss": message.NameTaken,
		"Ann": message.Invalid, "ad1abc": message.Invalid, "": message.Invalid,
	} {
		if _, err := asBob.Claim(t.Context(), s.ref, name); !errors.Is(err, want) {
			t.Errorf("claim of %q: %v, want %v", name, err, want)
		}
	}
	must[*message.NameRecord](t)(asAnn.Claim(t.Context(), s.ref, "ann2"))
	if _, err := asAnn.Claim(t.Context(), s.ref, "ann3"); !errors.Is(err, message.Quota) {
		t.Errorf("a third name of two: %v, want quota", err)
	}
	nobody, _ := asker(t, nil, s)
	if _, err := nobody.Claim(t.Context(), s.ref, "free"); !errors.Is(err, message.Unauthenticated) {
		t.Errorf("a claim by nobody: %v, want unauthenticated", err)
	}
	record, f, err := nobody.Name(t.Context(), "ann", s.hostPort())
	if err != nil {
		t.Fatal(err)
	}
	if record.Address != ann.user.Address() || f.Subject.Route.ID != ann.subject.Route.ID || !f.Confirmed {
		t.Errorf("name record %+v, found %+v", record, f)
	}
	if _, _, err := nobody.Name(t.Context(), "nobody", s.hostPort()); !errors.Is(err, message.NotFound) {
		t.Errorf("a name that nobody has: %v, want not found", err)
	}
	if _, _, err := nobody.Name(t.Context(), "Not a name", s.hostPort()); !errors.Is(err, message.Invalid) {
		t.Errorf("no name at all: %v, want invalid", err)
	}
}

func TestClaimNeedsARoute(t *testing.T) {
	s := honest(t, nil)
	k := newKeys(t, message.RoleUser)
	r, _ := asker(t, k, s)
	if _, err := r.Claim(t.Context(), s.ref, "early"); !errors.Is(err, message.NeedBundle) {
		t.Errorf("a claim before anything was published: %v, want need bundle", err)
	}
	server := newKeys(t, message.RoleServer)
	publishTo(t, s, publication(&message.Identity{Chain: server.Chain}))
	r, _ = asker(t, server, s)
	if _, err := r.Claim(t.Context(), s.ref, "early"); !errors.Is(err, message.NeedBundle) {
		t.Errorf("a claim without a route: %v, want need bundle", err)
	}
}

// TestPrivate: a private tracker serves the listed, and users of listed servers.
func TestPrivate(t *testing.T) {
	s := honest(t, func(c *tracker.Config) { c.Private = true })
	ann, bob, eve := newHosted(t), newHosted(t), newHosted(t)
	allow := func(a message.Address) {
		t.Helper()
		if err := s.store.Listings.SetListing(t.Context(), a, store.Allowed); err != nil {
			t.Fatal(err)
		}
	}
	allow(ann.user.Address())
	allow(bob.server.Address())
	publishTo(t, s, ann.publication(), bob.publication(), publication(bob.host))
	r, _ := asker(t, eve.user, s)
	if _, err := r.Publish(t.Context(), eve.publication()); !errors.Is(err, message.Denied) {
		t.Errorf("a publication by a stranger: %v, want denied", err)
	}
	// A route that names a listed server without its ticket leads nowhere.
	forged := eve
	forged.subject = userRoute(t, eve.user, 1, bob.server)
	forged.subject.Route.Services[0].Ticket = ann.subject.Route.Services[0].Ticket
	for name, k := range map[string]hosted{"ann": ann, "bob": bob} {
		r, _ := asker(t, k.user, s)
		if f := must[*tracker.Found](t)(r.Lookup(t.Context(), ann.user.Address())); !f.Confirmed {
			t.Errorf("%s finds %+v", name, f)
		}
	}
	server, _ := asker(t, bob.server, s)
	must[*tracker.Found](t)(server.Lookup(t.Context(), ann.user.Address()))
	for name, who := range map[string]struct {
		keys *message.Keyring
		want message.Code
	}{
		"nobody":                {nil, message.Unauthenticated},
		"a stranger":            {eve.user, message.NeedBundle},
		"an unlisted server":    {ann.server, message.Denied},
		"a stranger's server":   {eve.server, message.NeedBundle},
		"whom nobody published": {newKeys(t, message.RoleUser), message.NeedBundle},
	} {
		for _, about := range []message.Address{ann.user.Address(), newKeys(t, message.RoleUser).Address()} {
			r, _ := asker(t, who.keys, s)
			if _, err := r.Lookup(t.Context(), about); !errors.Is(err, who.want) {
				t.Errorf("%s: %v, want %v whatever is asked for", name, err, who.want)
			}
		}
	}
	if err := s.store.Listings.SetListing(t.Context(), ann.user.Address(), store.Unlisted); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Fresh(t.Context(), eve.user.Address()); !errors.Is(err, message.NotFound) {
		t.Errorf("eve: %v, want not found", err)
	}
}
