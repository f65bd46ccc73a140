package courier

import (
	"fmt"
	"testing"

	"airdispatch/message"
	"airdispatch/store"
)

// TestWhoWaitsLongestComesFirst: peers are looked up in the order in which their
// tasks were due, and each one's tasks stay together and in order.
func TestWhoWaitsLongestComesFirst(t *testing.T) {
	const peers = 64 // more than a map would keep in order by accident
	var tasks []store.Task
	for id := range int64(3 * peers) {
		tasks = append(tasks, store.Task{ID: id, Peer: message.Address{byte(id * 37 % peers)}})
	}
	groups := byPeer(tasks)
	if len(groups) != peers {
		t.Fatalf("%d groups for %d peers", len(groups), peers)
	}
	for n, jobs := range groups {
		var ids []int64
		for _, j := range jobs {
			if j.Peer != jobs[0].Peer {
				t.Errorf("group %d is for two peers", n)
			}
			ids = append(ids, j.ID)
		}
		if got, want := fmt.Sprint(ids), fmt.Sprint([]int{n, n + peers, n + 2*peers}); got != want {
			t.Errorf("group %d has the tasks %s, not %s", n, got, want)
		}
	}
}
