package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A Group is cases that are run in turn and compared.
type Group struct {
	// Name selects it on the command line.
	Name string
	// Title stands above its table.
	Title  string
	Cases  []Case
	Ratios []Ratio
}

// A Ratio compares the rates of two cases of a group, of one round.
type Ratio struct {
	Of, To string
	// Goal is what the ratio should reach; 0 is none.
	Goal float64
	// Note says what is unlike.
	Note string
}

// A Report is what a group did, round by round.
type Report struct {
	Group   Group
	Results map[string][]Result
}

// Options of a run.
type Options struct {
	// Dir is where cases have their directories.
	Dir string
	// Rounds, and how long a case runs in each.
	Rounds int
	Span   time.Duration
	// Said takes a line for every result.
	Said io.Writer
	// Around is called before the measured part of a case, and what it returns
	// after it: for profiles. May be nil.
	Around func(c Case) func()
}

// Run measures every case of the group in every round, in an order that turns
// round by round, so that none always comes first.
func (g Group) Run(o Options) (*Report, error) {
	r := &Report{Group: g, Results: make(map[string][]Result)}
	for round := range o.Rounds {
		for i := range g.Cases {
			c := g.Cases[(i+round)%len(g.Cases)]
			res, err := c.Measure(o.Dir, o.Span, o.Around)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %s: %w", g.Name, c.Name, err)
			}
			fmt.Fprintf(o.Said, "%-9s %d/%d  %-44s %8s/s  p50 %8s  p99 %8s  cpu %8s  %5.0f allocs\n",
				g.Name, round+1, o.Rounds, c.Name, figure(res.Rate), short(res.P50), short(res.P99), short(res.CPU), res.Allocs)
			r.Results[c.Name] = append(r.Results[c.Name], res)
		}
	}
	return r, nil
}

// Markdown writes the report as tables.
func (r *Report) Markdown(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n| | per second | p50 | p99 | processor | allocations |\n|---|---|---|---|---|---|\n", r.Group.Title)
	for _, c := range r.Group.Cases {
		results := r.Results[c.Name]
		if len(results) == 0 {
			continue
		}
		rate := spread(results, func(x Result) float64 { return x.Rate })
		text := fmt.Sprintf("%s [%s..%s]", figure(rate.median), figure(rate.least), figure(rate.most))
		if c.Bytes > 0 {
			mb := float64(c.Bytes) / 1e6
			text = fmt.Sprintf("%.0f MB/s [%.0f..%.0f]", rate.median*mb, rate.least*mb, rate.most*mb)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %.0f |\n", c.Name, text,
			short(time.Duration(spread(results, func(x Result) float64 { return float64(x.P50) }).median)),
			short(time.Duration(spread(results, func(x Result) float64 { return float64(x.P99) }).median)),
			short(time.Duration(spread(results, func(x Result) float64 { return float64(x.CPU) }).median)),
			spread(results, func(x Result) float64 { return x.Allocs }).median)
	}
	if len(r.Group.Ratios) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| ratio, within a round | | goal | |\n|---|---|---|---|\n")
	for _, q := range r.Group.Ratios {
		of, to := r.Results[q.Of], r.Results[q.To]
		if len(of) == 0 || len(of) != len(to) {
			continue
		}
		s := spreadOf(ratios(of, to))
		goal, verdict := "", q.Note
		if q.Goal > 0 {
			goal = fmt.Sprintf("≥ %.2g", q.Goal)
			if s.median >= q.Goal {
				verdict = join("met", q.Note)
			} else {
				verdict = join("**missed**", q.Note)
			}
		}
		fmt.Fprintf(w, "| %s / %s | %.2f [%.2f..%.2f] | %s | %s |\n", q.Of, q.To, s.median, s.least, s.most, goal, verdict)
	}
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// ratios of the rates of two cases, round by round.
func ratios(of, to []Result) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = of[i].Rate / to[i].Rate
	}
	return out
}

// spreading is a median and its range.
type spreading struct{ median, least, most float64 }

func spread(results []Result, of func(Result) float64) spreading {
	v := make([]float64, len(results))
	for i, r := range results {
		v[i] = of(r)
	}
	return spreadOf(v)
}

func spreadOf(v []float64) spreading {
	v = slices.Sorted(slices.Values(v))
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (mid + v[len(v)/2-1]) / 2
	}
	return spreading{mid, v[0], v[len(v)-1]}
}

// figure writes a number with three digits.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e5:
		return fmt.Sprintf("%.0f k", v/1e3)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g µs", float64(d)/1e3)
}
