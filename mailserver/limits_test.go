package mailserver_test

import (
	"net/http"
	"testing"

	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// TestStrangersAreLimited: whoever asks without a name is counted by the network,
// whatever is asked for; who says a name is counted by that.
func TestStrangersAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	for _, c := range []struct {
		name string
		// unlimited is that a limit of -1 is none.
		unlimited bool
	}{{"limited", false}, {"unlimited", true}} {
		one := w.host(c.name, func(mc *configs, _ *couriers) {
			mc.Limits.NetworkPerSecond, mc.Limits.NetworkBurst = 1, 1
			if c.unlimited {
				mc.Limits.NetworkPerSecond = -1
			}
		})
		ann, bob := w.person("ann", one), w.person("bob", one)
		b, id := blobOf(t, 1000, 8)
		if _, _, err := ann.put(id, b, 0, len(b)); err != nil {
			t.Fatal(err)
		}
		open := ann.send(ann.letter("to all"), &wirev1.BlobRef{Hash: id[:], Size: uint64(len(b))})
		letter := ann.send(ann.letter("to bob", bob))
		eve := w.stranger("eve")
		nameless := rpc.NewClient(rpc.Config{Dial: w.network.Dialer("nobody"), Verifier: verifier})
		defer nameless.Close()
		peer, err := nameless.Peer(one.identity)
		must(t, err)
		ctx, cancel := eve.timeout()
		defer cancel()
		asks := map[string]func() error{
			"pull": func() error {
				_, err := peer.Exchange().Pull(ctx, &wirev1.PullRequest{Items: []*wirev1.FetchItem{{From: open.From.Bytes(), Mid: open.MID.Bytes()}}})
				return err
			},
			"posts": func() error {
				_, err := peer.Exchange().Posts(ctx, &wirev1.PostsRequest{Address: ann.address().Bytes()})
				return err
			},
			"follow": func() error {
				stream, err := peer.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: ann.address().Bytes()})
				if err != nil {
					return err
				}
				stream.Receive()
				err = stream.Err()
				_ = stream.Close() // nothing more is wanted
				return err
			},
			"blob": func() error {
				anonymous := plain{http.MethodGet, blobPath(id) + "?from=" + open.From.String() + "&mid=" + open.MID.String(), nil, nil}
				_, _, _, err := do(w, peer, anonymous)
				return err
			},
		}
		for what, ask := range asks {
			// A second brings one back, so that of a handful at once some are too many.
			limited := false
			for range 100 {
				err := ask()
				if err == nil {
					continue
				}
				refused(t, err, message.RateLimited)
				limited = true
				break
			}
			if limited == c.unlimited {
				t.Errorf("%s, %s: limited %t", c.name, what, limited)
			}
		}
		if text := bob.reads(ann, letter.Ref()); text != "to bob" {
			t.Errorf("%s: bob reads %q", c.name, text)
		}
	}
}

// TestOwnMailIsNotLimited: what another server brings is counted, what a server
// brings to itself is not.
func TestOwnMailIsNotLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.stop()
	one := w.host("one", func(mc *configs, _ *couriers) { mc.Limits.AlertsPerSecond, mc.Limits.AlertBurst = 1, 1 })
	two := w.host("two")
	for _, from := range []*host{one, two} {
		ctx, cancel := w.stranger("anybody").timeout()
		defer cancel()
		peer, err := from.client.Peer(one.identity)
		must(t, err)
		_, err = peer.Exchange().Alert(ctx, &wirev1.AlertRequest{Items: []*wirev1.AlertItem{{}, {}}, Identities: []*wirev1.Identity{from.identity.Wire()}})
		if from == one {
			must(t, err) // each item is refused by itself: there is nothing in it
		} else {
			refused(t, err, message.RateLimited)
		}
		_, err = peer.Exchange().Receipts(ctx, &wirev1.ReceiptsRequest{Items: []*wirev1.Acknowledgement{{}, {}}, Identities: []*wirev1.Identity{from.identity.Wire()}})
		if from == one {
			must(t, err)
		} else {
			refused(t, err, message.RateLimited)
		}
	}
}
