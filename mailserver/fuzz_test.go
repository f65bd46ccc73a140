package mailserver_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// unary are the calls that FuzzCalls makes. Those that stream take the same items
// one by one.
var unary = []string{
	wirev1connect.MailboxJoinProcedure, wirev1connect.MailboxAnnounceProcedure, wirev1connect.MailboxLeaveProcedure, wirev1connect.MailboxSubmitProcedure,
	wirev1connect.MailboxInboxProcedure, wirev1connect.MailboxFetchProcedure, wirev1connect.MailboxSentProcedure, wirev1connect.MailboxStatusProcedure,
	wirev1connect.MailboxMarkProcedure, wirev1connect.MailboxAcknowledgeProcedure, wirev1connect.MailboxPolicyProcedure, wirev1connect.MailboxAccountProcedure,
	wirev1connect.ExchangeAlertProcedure, wirev1connect.ExchangeAlertsProcedure, wirev1connect.ExchangePullProcedure, wirev1connect.ExchangePostsProcedure,
	wirev1connect.ExchangeReceiptsProcedure, wirev1connect.DirectoryLookupProcedure,
}

// FuzzCalls sends any bytes to any call, as a resident, as a stranger and as
// another server. No answer may say Internal, which is what a panic becomes, and
// what somebody else has sent is as it was.
func FuzzCalls(f *testing.F) {
	w := newWorld(f)
	f.Cleanup(func() { w.t = f; w.stop() })
	one, two := w.host("one", unlimited), w.host("two", unlimited)
	ann, bob, eve, nobody := w.person("ann", one), w.person("bob", two), w.person("eve", one), w.stranger("nobody")
	kept := ann.send(ann.letter("stays", eve))
	stranger, err := nobody.client.Peer(one.identity)
	must(f, err)
	server, err := w.asHost(two, two.place).Peer(one.identity)
	must(f, err)
	callers := []*rpc.Peer{eve.peer, stranger, server}
	for _, s := range callSeeds(f, ann, bob, eve, kept) {
		for who := range callers {
			f.Add(s.call, uint8(who), s.body)
		}
	}
	f.Fuzz(func(t *testing.T, call, who uint8, body []byte) {
		w.t, ann.t = t, t // f may not be asked from in here
		path := unary[int(call)%len(unary)]
		_, _, _, err := do(w, callers[int(who)%len(callers)], plain{http.MethodPost, path, body, map[string]string{"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}})
		if err != nil && message.CodeOf(err) == message.Internal {
			t.Fatalf("%s: %v", path, err)
		}
		if got := ann.status(kept.MID, eve).GetState(); got == wirev1.DeliveryState_DELIVERY_STATE_UNSPECIFIED {
			t.Fatalf("%s: ann's letter is gone", path)
		}
	})
}

// callSeed is a request that somebody could make.
type callSeed struct {
	call uint8
	body []byte
}

// callSeeds are one good request for every call of unary, and then some.
func callSeeds(f *testing.F, ann, bob, eve *person, kept *message.Head) []callSeed {
	item := &wirev1.FetchItem{From: kept.From.Bytes(), Mid: kept.MID.Bytes()}
	byEve, byBob := eve.letter("seed", ann), bob.letter("seed", eve)
	receipts := []*wirev1.Acknowledgement{{From: kept.From.Bytes(), Mid: kept.MID.Bytes(), Version: 1, Receipt: kept.Signed}}
	public := eve.draft(message.Draft{Terms: message.Revisable, Name: "profile"}, "seed")
	requests := []proto.Message{
		&wirev1.JoinRequest{Identity: eve.identity.Wire(), Invite: "abc"},
		&wirev1.AnnounceRequest{Identity: eve.identity.Wire(), Trackers: []string{eve.w.tracker.String()}, Ask: [][]byte{bob.address().Bytes()}},
		&wirev1.LeaveRequest{},
		&wirev1.SubmitRequest{Submissions: []*wirev1.Submission{submission(byEve), submission(public)}},
		&wirev1.InboxRequest{Limit: 10, After: &wirev1.Cursor{Epoch: 1, Seq: 1}},
		&wirev1.FetchRequest{Items: []*wirev1.FetchItem{item}},
		&wirev1.SentRequest{Limit: 10},
		&wirev1.StatusRequest{Mid: kept.MID.Bytes()},
		&wirev1.MarkRequest{Items: []*wirev1.MarkItem{{From: kept.From.Bytes(), Mid: kept.MID.Bytes()}}},
		&wirev1.AcknowledgeRequest{Items: receipts},
		&wirev1.PolicyRequest{Rules: []*wirev1.Rule{{Address: ann.address().Bytes(), Verdict: wirev1.Verdict_VERDICT_ALLOW}}},
		&wirev1.AccountRequest{},
		&wirev1.AlertRequest{Items: []*wirev1.AlertItem{alertOf(byBob, eve)}, Identities: []*wirev1.Identity{bob.identity.Wire()}},
		&wirev1.AlertsRequest{},
		&wirev1.PullRequest{For: eve.address().Bytes(), Items: []*wirev1.FetchItem{item}, Identities: []*wirev1.Identity{eve.identity.Wire()}},
		&wirev1.PostsRequest{},
		&wirev1.ReceiptsRequest{Items: receipts},
		&wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: ann.address().Bytes()}}},
	}
	var seeds []callSeed
	for call, r := range requests {
		b, err := proto.Marshal(r)
		must(f, err)
		seeds = append(seeds, callSeed{uint8(call), b}, callSeed{uint8(call), b[:len(b)/2]}, callSeed{uint8(call + 1), b})
	}
	return seeds
}

// FuzzOrigin answers a reader's server with any bytes where it pulls a letter: it
// hands on the author's words or none.
func FuzzOrigin(f *testing.F) {
	w := newWorld(f)
	f.Cleanup(func() { w.t = f; w.stop() })
	one, two := w.host("one", unlimited), w.host("two", unlimited)
	ann, bob := w.person("ann", one), w.person("bob", two)
	h := ann.send(ann.letter("true", bob))
	bob.awaits(h)
	second := ann.edit(h, "edited", bob)
	one.halt()
	for _, p := range []*wirev1.Pulled{
		{Heads: []*wirev1.Signed{h.Signed, second.Head.Signed}, Slot: slotFor(second, bob), Payload: second.Payload[:len(second.Payload)-1]},
		{Heads: []*wirev1.Signed{h.Signed}, Slot: slotFor(second, bob), Payload: []byte("nothing")},
		{Refusal: &wirev1.Refusal{Reason: wirev1.Reason_REASON_NOT_FOUND}},
	} {
		b, err := proto.Marshal(&wirev1.PullResponse{Results: []*wirev1.Pulled{p}})
		must(f, err)
		f.Add(b)
	}
	var say atomic.Pointer[wirev1.PullResponse]
	l := &liar{answer: func(*wirev1.PullRequest) *wirev1.PullResponse { return say.Load() }}
	rs := w.listen(one.place, one.cert)
	rs.Mount(wirev1connect.NewExchangeHandler(l, rpc.Options(nil)...))
	w.run(w.ctx, rs.Serve)
	f.Fuzz(func(t *testing.T, b []byte) {
		w.t, bob.t = t, t // f may not be asked from in here
		var r wirev1.PullResponse
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		say.Store(&r)
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		got, err := bob.peer.Mailbox().Fetch(ctx, &wirev1.FetchRequest{Items: []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: h.MID.Bytes()}}})
		if err != nil {
			t.Fatalf("the own server: %v", err)
		}
		for _, p := range got.GetResults() {
			if message.OpenRefusal(p.GetRefusal()) != nil {
				continue // the origin's own words
			}
			if text := bob.open(ann, p); text != "edited" && text != "true" {
				t.Fatalf("%q was handed on", text)
			}
		}
	})
}
