package client_test

import (
	"context"
	"testing"

	"airdispatch/client"
	"airdispatch/store"
)

// TestWhatWasFetchedIsRemembered: a recall begins the state anew; that the
// version before it was fetched and opened is still told.
func TestWhatWasFetchedIsRemembered(t *testing.T) {
	w, ann, bob := twoServers(t)
	m := ann.Send("first", "bob")
	bob.Awaits(m, 1)
	bob.Does("reads, and says so", func(ctx context.Context, c *client.Client) error {
		_, err := c.Read(ctx, m, client.ReadOptions{Opened: true})
		return err
	})
	reaches := func(what string, state store.DeliveryState, version uint64) {
		t.Helper()
		var d client.Delivery
		w.Awaits(what, func() bool {
			ann.Does("asks", func(ctx context.Context, c *client.Client) error {
				p, err := c.Status(ctx, m)
				if err == nil {
					d = p.Deliveries[0]
				}
				return err
			})
			return d.State == state && d.Version == version && d.FetchedVersion != 0
		})
		if !d.Signed || d.FetchedVersion != 1 || d.FetchedTime.IsZero() || d.OpenedVersion != 1 || d.OpenedTime.IsZero() {
			t.Errorf("%s: %+v", what, d)
		}
	}
	reaches("the word that it was opened", store.OpenedFor, 1)
	ann.Recalls(m)
	bob.Awaits(m, 2)
	reaches("the word that the recall is known", store.Alerted, 2)
}
