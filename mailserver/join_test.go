package mailserver_test

import (
	"context"
	"testing"
	"time"

	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// tryJoin asks for an account.
func (p *person) tryJoin(h *host, invite string) error {
	p.t.Helper()
	ctx, cancel := p.timeout()
	defer cancel()
	peer, _, err := p.client.Open(ctx, h.reference())
	must(p.t, err)
	_, err = peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: p.identity.Wire(), Invite: invite})
	return err
}

// TestJoin: who may, under each policy.
func TestJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	policy := func(p mailserver.AccountsPolicy) func(*configs, *couriers) {
		return func(c *configs, _ *couriers) { c.Accounts = p }
	}
	open, invite, list := w.host("open", policy(mailserver.Open)), w.host("invite", policy(mailserver.ByInvite)), w.host("list", policy(mailserver.ByList))
	must(t, invite.mail.Invites.PutInvite(w.ctx, mailserver.InviteHash("welcome"), 1, time.Now().Add(time.Hour)))
	must(t, invite.mail.Invites.PutInvite(w.ctx, mailserver.InviteHash("stale"), 1, time.Now().Add(-time.Hour)))
	ann, bob, carl := w.stranger("ann"), w.stranger("bob"), w.stranger("carl")
	for _, h := range []*host{open, invite, list} {
		must(t, h.mail.Listings.SetListing(w.ctx, carl.address(), store.Refused))
	}
	must(t, list.mail.Listings.SetListing(w.ctx, bob.address(), store.Allowed))

	must(t, ann.tryJoin(open, ""))
	refused(t, carl.tryJoin(open, ""), message.Denied)
	refused(t, ann.tryJoin(invite, ""), message.Denied)
	refused(t, ann.tryJoin(invite, "guess"), message.Denied)
	refused(t, ann.tryJoin(invite, "stale"), message.Denied)
	must(t, ann.tryJoin(invite, "welcome"))
	must(t, ann.tryJoin(invite, "welcome")) // who has an account renews the ticket, and uses nothing
	refused(t, bob.tryJoin(invite, "welcome"), message.Denied)
	refused(t, carl.tryJoin(invite, "welcome"), message.Denied)
	refused(t, ann.tryJoin(list, "welcome"), message.Denied)
	must(t, bob.tryJoin(list, ""))

	// What was refused left nothing behind.
	if _, err := list.known.Identity(w.ctx, ann.address()); message.CodeOf(err) != message.NotFound {
		t.Fatalf("the refused one's cards: %v", err)
	}

	// Another's cards, a server's cards, and no cards at all.
	ctx, cancel := ann.timeout()
	defer cancel()
	peer, _, err := ann.client.Open(ctx, open.reference())
	must(t, err)
	_, err = peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: bob.identity.Wire()})
	refused(t, err, message.Invalid)
	_, err = peer.Mailbox().Join(ctx, &wirev1.JoinRequest{})
	refused(t, err, message.Invalid)
	asServer, err := w.asHost(list, "list").Peer(open.identity)
	must(t, err)
	_, err = asServer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: list.identity.Wire()})
	refused(t, err, message.Invalid)
}

// TestSuspended: an account that is suspended reads and does nothing else; one
// that has left is nobody.
func TestSuspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	h := ann.send(ann.letter("before", bob))
	bob.awaits(h)
	yes, no := true, false
	must(t, two.mail.Accounts.ChangeAccount(w.ctx, bob.address(), store.AccountChange{Suspended: &yes}))
	_, err := bob.trySend(bob.letter("out", ann))
	refused(t, err, message.Denied)
	if got := bob.reads(ann, h.Ref()); got != "before" {
		t.Fatal(got)
	}
	lost := ann.send(ann.letter("during", bob))
	w.until("the refusal", func() bool {
		return ann.status(lost.MID, bob).GetState() == wirev1.DeliveryState_DELIVERY_STATE_REFUSED
	})
	must(t, two.mail.Accounts.ChangeAccount(w.ctx, bob.address(), store.AccountChange{Suspended: &no}))
	bob.send(bob.letter("again", ann))

	ctx, cancel := bob.timeout()
	defer cancel()
	_, err = bob.peer.Mailbox().Leave(ctx, &wirev1.LeaveRequest{})
	must(t, err)
	_, err = bob.peer.Mailbox().Inbox(ctx, &wirev1.InboxRequest{})
	refused(t, err, message.Denied)
}

// TestLostDevice: what a removed device signs is refused at once, the Access
// that it still holds among it.
func TestLostDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one, two := w.host("one"), w.host("two")
	ann, bob := w.person("ann", one), w.person("bob", two)
	early := ann.send(ann.letter("from the old device", bob))
	bob.awaits(early)

	// A new card with a new device key; the old device keeps its keys and its Access.
	lost := *ann
	head := ann.keyring.Chain.Head()
	next := newKeyring(t, message.RoleUser)
	card, err := message.SignCard(message.CardDraft{
		Rotation: head.Rotation, Signers: next.Chain.Head().Signers, Boxes: head.Boxes, Time: time.Now(), Role: message.RoleUser,
	}, head, ann.keyring.Rotation[0])
	must(t, err)
	chain, err := ann.keyring.Chain.Extend(verifier, []*wirev1.Signed{card})
	must(t, err)
	ann.keyring = &message.Keyring{Chain: chain, Rotation: ann.keyring.Rotation, Signer: next.Signer, Boxes: ann.keyring.Boxes}
	ann.client = rpc.NewClient(rpc.Config{Dial: w.network.Dialer("ann"), Verifier: verifier, Keyring: ann.keyring})
	defer ann.client.Close()
	ann.join(one, 2)

	_, err = lost.trySend(lost.letter("from the thief", bob))
	if code := message.CodeOf(err); code != message.BadSignature {
		t.Fatalf("the lost device: %v", err)
	}
	late := ann.send(ann.letter("from the new device", bob))
	bob.awaits(late)
	if got := bob.reads(ann, early.Ref()); got != "from the old device" {
		t.Fatalf("what was alerted before the card changed reads %q", got)
	}
}

// TestLookup: anybody is told about the server itself; about others, only who
// lives here.
func TestLookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one")
	ann, eve := w.person("ann", one), w.stranger("eve")
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	query := &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: ann.address().Bytes()}, {}}}
	resp, err := ann.peer.Directory().Lookup(ctx, query)
	must(t, err)
	for n, r := range resp.GetResults() {
		must(t, message.OpenRefusal(r.GetRefusal()))
		if len(r.GetAnswers()) != 1 {
			t.Fatalf("result %d has %d answers", n, len(r.GetAnswers()))
		}
	}
	_, err = message.OpenSelfAnswer(verifier, one.keyring.Address(), resp.GetResults()[1].GetAnswers()[0], time.Now())
	must(t, err)
	peer, err := eve.client.Peer(one.identity)
	must(t, err)
	_, err = peer.Directory().Lookup(ctx, query)
	refused(t, err, message.NeedBundle)
	_, err = peer.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
	must(t, err)
}
