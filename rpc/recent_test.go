package rpc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRecentAgainstModel holds the cache against a plain list, most recently used
// last.
func TestRecentAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		var gone []int
		r := newRecent[int, int](limit, func(v int) { gone = append(gone, v) })
		var keys, wantGone []int
		values := map[int]int{}
		touch := func(k int) {
			keys = append(slices.DeleteFunc(keys, func(x int) bool { return x == k }), k)
		}
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := rapid.IntRange(0, 8).Draw(t, "key")
				next++
				if old, ok := values[k]; ok {
					wantGone = append(wantGone, old)
				}
				r.put(k, next)
				values[k] = next
				touch(k)
				if len(keys) > limit {
					wantGone = append(wantGone, values[keys[0]])
					delete(values, keys[0])
					keys = keys[1:]
				}
			},
			"find": func(t *rapid.T) {
				k := rapid.IntRange(0, 8).Draw(t, "key")
				got, ok := r.find(k)
				want, there := values[k]
				if got != want || ok != there {
					t.Fatalf("find %d = %d %v, want %d %v", k, got, ok, want, there)
				}
				if there {
					touch(k)
				}
			},
			"forget": func(t *rapid.T) {
				odd := rapid.IntRange(0, 1).Draw(t, "odd")
				r.forget(func(v int) bool { return v%2 == odd })
				for _, k := range slices.Backward(slices.Clone(keys)) {
					if values[k]%2 == odd {
						wantGone = append(wantGone, values[k])
						delete(values, k)
						keys = slices.DeleteFunc(keys, func(x int) bool { return x == k })
					}
				}
			},
			"": func(t *rapid.T) {
				if !slices.Equal(gone, wantGone) {
					t.Fatalf("dropped %v, want %v", gone, wantGone)
				}
				if r.order.Len() != len(keys) || len(r.index) != len(keys) {
					t.Fatalf("holds %d, want %d", r.order.Len(), len(keys))
				}
			},
		})
	})
}
