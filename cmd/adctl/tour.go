package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"airdispatch/cmd/internal/daemon"
)

// tour plays a story on a network: each command as a person would type it, and
// what it really says. The first thing that is not as it should be ends it.
type tour struct {
	ctx  context.Context
	net  *network
	out  io.Writer
	err  error
	step int
}

// newTour prepares a tour on a network of its own.
func newTour(ctx context.Context, n *network, out io.Writer) *tour {
	return &tour{ctx: ctx, net: n, out: out}
}

// play plays the whole story.
func (t *tour) play() error {
	begun := time.Now()
	story := &story{tour: t}
	for _, part := range []func(){
		story.register, story.send, story.read, story.edit, story.recall, story.publish, story.strangers, story.outage,
	} {
		part()
		if t.ctx.Err() != nil {
			return context.Canceled
		}
		if t.err != nil {
			return fmt.Errorf("the tour ends in step %d: %w", t.step, t.err)
		}
	}
	t.printf("\nThat was all of it: %d steps in %.1f s, through real TLS and real files. `adctl localnet` without\n--tour keeps such a network running for you.\n", t.step, time.Since(begun).Seconds())
	return t.err
}

// printf writes words of the tour.
func (t *tour) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil && t.err == nil {
		t.err = err
	}
}

// title begins a step.
func (t *tour) title(text string) {
	if t.err != nil {
		return
	}
	t.step++
	t.printf("\n%d. %s\n", t.step, text)
}

// fail ends the tour.
func (t *tour) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

// typed is one command as a person types it.
type typed struct {
	who  string
	args []string
	// in is what is written into standard input.
	in string
	// code is the exit code that it must have, and says what must be in its
	// output.
	code int
	says string
}

// run runs a command, shows it with what it says, and returns its data. It must
// end and say as it should.
func (t *tour) run(c typed) string {
	if t.err != nil {
		return ""
	}
	o := t.net.adctl(t.ctx, c.who, c.in, c.args...)
	t.show(c, &o)
	if why := c.wrong(&o); why != "" {
		t.fail("adctl %s: %s", strings.Join(c.args, " "), why)
	}
	return strings.TrimSpace(o.out.String())
}

// awaitPatience is how long a command is repeated.
const awaitPatience = 15 * time.Second

// awaits runs a command again and again until it says what it should, and shows
// the last time.
func (t *tour) awaits(c typed) string {
	if t.err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(t.ctx, awaitPatience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		o := t.net.adctl(t.ctx, c.who, c.in, c.args...)
		why := c.wrong(&o)
		if why == "" {
			t.show(c, &o)
			return strings.TrimSpace(o.out.String())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.show(c, &o)
			t.fail("adctl %s, again and again for %s: %s", strings.Join(c.args, " "), awaitPatience, why)
			return ""
		}
	}
}

// wrong says what is not as it should be, or nothing.
func (c typed) wrong(o *outcome) string {
	switch {
	case o.code != c.code:
		return fmt.Sprintf("it ended with %d, not with %d", o.code, c.code)
	case !strings.Contains(o.all.String(), c.says):
		return fmt.Sprintf("it did not say %q", c.says)
	}
	return ""
}

// show prints a command and what it said.
func (t *tour) show(c typed, o *outcome) {
	words := []string{"adctl"}
	for _, a := range c.args {
		words = append(words, quote(a))
	}
	line := strings.Join(words, " ")
	if c.in != "" {
		line = "echo " + quote(strings.TrimSuffix(c.in, "\n")) + " | " + line
	}
	t.printf("\n   %s$ %s\n", c.who, line)
	for said := range strings.Lines(o.all.String()) {
		t.printf("   %s\n", strings.TrimRight(visible(said), "\n"))
	}
	if o.code != daemon.ExitDone {
		t.printf("   (exit code %d)\n", o.code)
	}
}

// says prints what the tour does besides commands.
func (t *tour) says(text string) {
	if t.err == nil {
		t.printf("\n   %s\n", text)
	}
}

// must keeps an error of something besides commands.
func (t *tour) must(err error) {
	t.err = errors.Join(t.err, err)
}
