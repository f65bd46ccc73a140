package mailserver

import "testing"

// What is spread over the processors comes back whole and in order, whatever
// the lengths of the runs.
func TestSpread(t *testing.T) {
	for _, least := range []int{1, 4, 64} {
		for _, n := range []int{0, 1, 3, 8, 127, 129, 256} {
			items := make([]int, n)
			for i := range items {
				items[i] = i
			}
			out := spread(items, least, each(func(i int) int { return 2*i + 1 }))
			if len(out) != n {
				t.Fatalf("%d results of %d items", len(out), n)
			}
			for i, got := range out {
				if got != 2*i+1 {
					t.Fatalf("item %d of %d, runs of %d: %d", i, n, least, got)
				}
			}
		}
	}
}
