package main

import (
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"airdispatch/client"
)

// barAfter is how long a transfer takes before it gets a bar.
const barAfter = time.Second

// bars shows the progress of long transfers, on a terminal and nowhere else.
type bars struct {
	a *app

	// mu guards what follows.
	mu    sync.Mutex
	name  string
	begun time.Time
	bar   *progressbar.ProgressBar
}

func (a *app) newBars() *bars { return &bars{a: a} }

// progress is told how far a transfer is.
func (b *bars) progress(p client.Progress) {
	if !isTerminal(b.a.err) || b.a.json {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if name := p.Stage + " " + p.Name; name != b.name {
		b.end()
		b.name, b.begun = name, time.Now()
	}
	if b.bar == nil && time.Since(b.begun) < barAfter {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(p.Total, progressbar.OptionSetWriter(b.a.err), progressbar.OptionSetDescription(oneLine(b.name)),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = b.bar.Set64(p.Done) // a bar that cannot be drawn harms nothing
}

// end takes the bar away; mu is held.
func (b *bars) end() {
	if b.bar != nil {
		_ = b.bar.Finish() // as above
	}
	b.bar = nil
}

// finish takes away what is left.
func (b *bars) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
}
