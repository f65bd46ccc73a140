package simnet

import "time"

// Weather is what goes wrong with exchanges, each as a share of them.
type Weather struct {
	// Slow exchanges take up to Lag for each way, others some milliseconds; what
	// takes different times arrives in another order.
	Slow float64
	Lag  time.Duration
	// Unreached: the connection is refused or reset before the request arrives.
	Unreached float64
	// Halved: the request's body ends in the middle.
	Halved float64
	// Unanswered: the request arrives, and the connection is reset before the
	// answer does.
	Unanswered float64
	// Torn: the answer's body ends in the middle.
	Torn float64
	// Silent: the request, or the answer, is lost without a word.
	Silent float64
	// Twice: the connection is reset after the request arrived, and the request is
	// made again.
	Twice float64
}

// fate is what becomes of one exchange.
type fate int

const (
	good fate = iota
	unreached
	halved
	unanswered
	torn
	silentThere
	silentBack
	twice
)

// String names a fate in a trace.
func (f fate) String() string {
	return [...]string{"", " unreached", " halved", " unanswered", " torn", " silent there", " silent back", " twice"}[f]
}

// fate draws one.
func (w Weather) fate(l Luck) fate {
	share := l.Share()
	for _, f := range []struct {
		share float64
		fate  fate
	}{
		{w.Unreached, unreached}, {w.Halved, halved}, {w.Unanswered, unanswered}, {w.Torn, torn},
		{w.Silent / 2, silentThere}, {w.Silent / 2, silentBack}, {w.Twice, twice},
	} {
		if share < f.share {
			return f.fate
		}
		share -= f.share
	}
	return good
}

const (
	// near is the shortest way, and usual the most that one takes where it is not
	// slow.
	near  = time.Millisecond
	usual = 40 * time.Millisecond
	// gaveUp is when a silent exchange ends if nobody gives it up before: what
	// net/http's transport allows for an answer's head.
	gaveUp = 75 * time.Second
	// unroutable is how long a connection is tried.
	unroutable = 10 * time.Second
)

// way is how long one way takes.
func (w Weather) way(l Luck) time.Duration {
	if l.Share() < w.Slow && w.Lag > 0 {
		return near + l.Within(w.Lag)
	}
	return near + l.Within(usual)
}
