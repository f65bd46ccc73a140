package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestCases runs every case for a moment: they do what they say, and end.
func TestCases(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers by the dozen")
	}
	for _, g := range Groups() {
		for _, c := range g.Cases {
			t.Run(g.Name+"/"+c.Name, func(t *testing.T) {
				res, err := c.Measure(t.TempDir(), 20*time.Millisecond, nil)
				if err != nil {
					t.Fatal(err)
				}
				if res.Things == 0 || res.Rate <= 0 || res.P99 < res.P50 {
					t.Errorf("result %+v", res)
				}
			})
		}
	}
}

// TestRatios names only cases that there are, and no case twice.
func TestRatios(t *testing.T) {
	groups := map[string]bool{}
	for _, g := range Groups() {
		if groups[g.Name] {
			t.Errorf("two groups %s", g.Name)
		}
		groups[g.Name] = true
		names := map[string]bool{}
		for _, c := range g.Cases {
			if names[c.Name] {
				t.Errorf("%s: two cases %q", g.Name, c.Name)
			}
			names[c.Name] = true
		}
		for _, r := range g.Ratios {
			if !names[r.Of] || !names[r.To] {
				t.Errorf("%s: ratio of %q to %q: no such case", g.Name, r.Of, r.To)
			}
		}
	}
}

// TestSpread takes the middle, and of two the mean.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want spreading
	}{
		{[]float64{3, 1, 2}, spreading{2, 1, 3}},
		{[]float64{4, 1}, spreading{2.5, 1, 4}},
		{[]float64{7}, spreading{7, 7, 7}},
	} {
		if got := spreadOf(c.in); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

// TestMarkdown says of each goal whether it was met, by the median of ratios
// within rounds and not by the ratio of medians.
func TestMarkdown(t *testing.T) {
	r := &Report{
		Group: Group{Title: "Things", Cases: []Case{{Name: "a"}, {Name: "b"}}, Ratios: []Ratio{
			{Of: "a", To: "b", Goal: 2}, {Of: "b", To: "a", Goal: 2, Note: "the other way"},
		}},
		Results: map[string][]Result{
			"a": {{Rate: 100}, {Rate: 10}, {Rate: 1}},
			"b": {{Rate: 50}, {Rate: 4}, {Rate: 1}},
		},
	}
	var out strings.Builder
	r.Markdown(&out)
	for _, want := range []string{
		"| a / b | 2.00 [1.00..2.50] | ≥ 2 | met |", "| b / a | 0.50 [0.40..1.00] | ≥ 2 | **missed**; the other way |", "| a | 10 [1..100] |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Benchmark has every case as go test -bench knows it: an op is one thing.
func Benchmark(b *testing.B) {
	for _, g := range Groups() {
		b.Run(g.Name, func(b *testing.B) {
			for _, c := range g.Cases {
				b.Run(c.Name, func(b *testing.B) { benchmark(b, c) })
			}
		})
	}
}

func benchmark(b *testing.B, c Case) {
	calls := (b.N + c.each() - 1) / c.each()
	dir, err := os.MkdirTemp("", "airdispatch-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r, err := c.open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	if err := r.prepare(calls + c.workers()); err != nil {
		b.Fatal(err)
	}
	if c.Bytes > 0 {
		b.SetBytes(c.Bytes)
	}
	b.ReportAllocs()
	b.ResetTimer()
	res, err := c.Times(r, calls)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	// What is prepared may end before b.N is reached, so the time of an op is taken from what was done.
	b.ReportMetric(1e9/res.Rate, "ns/op")
	b.ReportMetric(res.Allocs, "allocs/op")
	b.ReportMetric(res.Rate, "things/s")
	b.ReportMetric(float64(res.P50.Microseconds()), "p50-µs")
	b.ReportMetric(float64(res.P99.Microseconds()), "p99-µs")
	b.ReportMetric(float64(res.CPU.Nanoseconds()), "cpu-ns/thing")
}
