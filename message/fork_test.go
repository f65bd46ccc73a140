package message

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// family is a chain and branches that leave it, one for each rank and more.
type family struct {
	trunk *Chain
	// branches by rank; of rank 1 there are two.
	paper, file, fileToo *Chain
}

func newFamily(t testing.TB) family {
	t.Helper()
	ann := user(t, "ann")
	d := ann.draft()
	grow := func(k crypto.SigningKey, at time.Duration) *Chain {
		d.Time = testTime().Add(at)
		return after(t, ann.Chain, d, k)
	}
	return family{ann.Chain, grow(ann.paper, 1), grow(ann.Rotation[0], time.Second), grow(ann.Rotation[0], time.Hour)}
}

// sighted is a chain whose last card was first seen then, and the others at
// the beginning.
func sighted(c *Chain, at time.Duration) Sighting {
	s := Sighting{Chain: c}
	for range c.Len() - 1 {
		s.FirstSeen = append(s.FirstSeen, testTime().Add(-24*time.Hour))
	}
	s.FirstSeen = append(s.FirstSeen, testTime().Add(at))
	return s
}

func TestCompareAtTheBoundary(t *testing.T) {
	f := newFamily(t)
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		held, offered Sighting
		want          Standing
	}{
		"higher, at once":                {sighted(f.file, 0), sighted(f.paper, 0), Wins},
		"higher, before":                 {sighted(f.file, time.Hour), sighted(f.paper, 0), Wins},
		"higher, a millisecond before 7": {sighted(f.file, 0), sighted(f.paper, ForkWindow-ms), Wins},
		"higher, at exactly 7 days":      {sighted(f.file, 0), sighted(f.paper, ForkWindow), Loses},
		"higher, less than 1 ms before":  {sighted(f.file, 0), sighted(f.paper, ForkWindow-time.Microsecond), Wins},
		"lower, at once":                 {sighted(f.paper, 0), sighted(f.file, 0), Loses},
		"lower, later":                   {sighted(f.paper, 0), sighted(f.file, 400*24*time.Hour), Loses},
		"lower, a millisecond too young": {sighted(f.paper, ForkWindow-ms), sighted(f.file, 0), Loses},
		"lower, exactly 7 days older":    {sighted(f.paper, ForkWindow), sighted(f.file, 0), Wins},
		"equal, later":                   {sighted(f.file, 0), sighted(f.fileToo, ms), Loses},
		"equal, earlier":                 {sighted(f.file, ms), sighted(f.fileToo, 0), Wins},
		"same":                           {sighted(f.file, 0), sighted(f.file, time.Hour), Same},
		"older":                          {sighted(f.file, 0), sighted(f.trunk, 0), Older},
		"newer":                          {sighted(f.trunk, 0), sighted(f.file, 0), Newer},
		"no time for the held":           {Sighting{Chain: f.file}, sighted(f.paper, 0), Loses},
		"no time for the offered":        {sighted(f.file, 0), Sighting{Chain: f.paper}, Loses},
		"no time for the offered, equal": {sighted(f.file, 0), Sighting{Chain: f.fileToo}, Loses},
		"no time for the offered, lower": {sighted(f.paper, 0), Sighting{Chain: f.file}, Loses},
		"a zero time":                    {sighted(f.file, 0), Sighting{f.fileToo, make([]time.Time, 2)}, Loses},
	} {
		t.Run(name, func(t *testing.T) {
			forkVector(t, name, c.held, c.offered)
			if got, err := Compare(c.held, c.offered); err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// forkVector offers a comparison for the vectors, and the same the other way
// round.
func forkVector(t *testing.T, name string, held, offered Sighting) {
	t.Helper()
	times := func(s Sighting) (out []int64) {
		for _, at := range s.FirstSeen {
			if at.IsZero() {
				return nil
			}
			out = append(out, millis(at))
		}
		return out
	}
	one := inputs{Cards: cardsOf(t, held.Chain), Seen: times(held), Other: cardsOf(t, offered.Chain), OtherSeen: times(offered)}
	vec(t, "forks/compare", name, one, 0)
	vec(t, "forks/compare", name+", the other way round", inputs{Cards: one.Other, Seen: one.OtherSeen, Other: one.Cards, OtherSeen: one.Seen}, 0)
}

// At the same millisecond and equal rank the lower id stands, whoever is held.
func TestCompareTie(t *testing.T) {
	f := newFamily(t)
	low, high := f.file, f.fileToo
	if low.Head().ID.String() > high.Head().ID.String() {
		low, high = high, low
	}
	forkVector(t, "equal, same millisecond", sighted(high, 0), sighted(low, 0))
	if got, _ := Compare(sighted(high, 0), sighted(low, time.Microsecond)); got != Wins {
		t.Errorf("the lower id offered: %v", got)
	}
	if got, _ := Compare(sighted(low, 0), sighted(high, 0)); got != Loses {
		t.Errorf("the lower id held: %v", got)
	}
}

func TestCompareTwoAddresses(t *testing.T) {
	ann, bob := user(t, "ann").Chain, user(t, "bob").Chain
	_, err := Compare(sighted(ann, 0), sighted(bob, 0))
	refused(t, err, Invalid)
	vec(t, "forks/compare", "two addresses", inputs{Cards: cardsOf(t, ann), Other: cardsOf(t, bob)}, Invalid)
}

// Whatever the cards and times: exactly one of two branches stands, and which
// one does not depend on which is held.
func TestCompareIsSymmetrical(t *testing.T) {
	f := newFamily(t)
	branches := []*Chain{f.paper, f.file, f.fileToo}
	rapid.Check(t, func(r *rapid.T) {
		i := rapid.IntRange(0, 2).Draw(r, "held")
		j := rapid.IntRange(0, 1).Draw(r, "offered")
		if j >= i {
			j++
		}
		around := rapid.SampledFrom([]time.Duration{0, ForkWindow, -ForkWindow}).Draw(r, "around")
		apart := around + time.Duration(rapid.Int64Range(-2000, 2000).Draw(r, "apart"))*time.Microsecond
		a, b := sighted(branches[i], 0), sighted(branches[j], apart)
		one, err1 := Compare(a, b)
		other, err2 := Compare(b, a)
		if err1 != nil || err2 != nil || (one == Wins) == (other == Wins) {
			r.Fatalf("one way %v, the other way %v (%v, %v)", one, other, err1, err2)
		}
	})
}

// Three branches on one card: each step is decided by the two that meet.
func TestCompareThreeWays(t *testing.T) {
	ann := user(t, "ann")
	middle := key(t, "middle")
	d := ann.draft()
	d.Rotation = []crypto.VerifyKey{ann.paper.Public(), middle.Public(), ann.Rotation[0].Public()}
	trunk := after(t, ann.Chain, d, ann.Rotation[0])
	d.Time = d.Time.Add(1)
	low, mid, top := after(t, trunk, d, ann.Rotation[0]), after(t, trunk, d, middle), after(t, trunk, d, ann.paper)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		held, offered Sighting
		want          Standing
	}{
		"the middle beats the low":             {sighted(low, 0), sighted(mid, 6*day), Wins},
		"the top beats the middle after that":  {sighted(mid, 6*day), sighted(top, 12*day), Wins},
		"but not the low directly":             {sighted(low, 0), sighted(top, 12*day), Loses},
		"the low does not come back":           {sighted(mid, 6*day), sighted(low, 0), Loses},
		"the middle does not beat the top":     {sighted(top, day), sighted(mid, 0), Loses},
		"longer branches are decided below":    {sighted(after(t, low, d, ann.paper), 0), sighted(mid, -day), Wins},
		"the rank in the card below decides":   {sighted(mid, 0), sighted(after(t, low, d, ann.paper), 0), Loses},
		"a longer branch of the same is newer": {sighted(low, 0), sighted(after(t, low, d, ann.paper), 0), Newer},
	} {
		t.Run(name, func(t *testing.T) {
			forkVector(t, name, c.held, c.offered)
			if got, err := Compare(c.held, c.offered); err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestDisagree(t *testing.T) {
	f := newFamily(t)
	file, paper := sighted(f.file, 0), sighted(f.paper, 0)
	if Disagree(sighted(f.trunk, 0), file) || Disagree(file, sighted(f.trunk, 0)) || Disagree(file, file) {
		t.Error("an earlier state is no disagreement")
	}
	if !Disagree(file, paper) || !Disagree(paper, file) {
		t.Error("two branches are a disagreement")
	}
	inside, outside := sighted(f.paper, ForkWindow-time.Millisecond), sighted(f.paper, ForkWindow)
	if !DisagreeOn(file, inside, outside) || !DisagreeOn(file, outside, inside) {
		t.Error("times on both sides of the window are a disagreement")
	}
	if DisagreeOn(file, inside, inside) || DisagreeOn(file, outside, outside) || DisagreeOn(sighted(f.trunk, 0), inside, outside) {
		t.Error("times on one side are no disagreement")
	}
	if !DisagreeOn(file, file, paper) || !DisagreeOn(sighted(user(t, "bob").Chain, 0), file, file) {
		t.Error("two branches, or another identity, are a disagreement")
	}
}

// A thief cannot lower the rank of a recovery card by signing it once more.
func TestRankIsSigned(t *testing.T) {
	ann := user(t, "ann")
	good := must(SignCard(ann.draft(), ann.Chain.Head(), ann.paper))(t)
	again := &wirev1.Signed{Body: good.Body, Key: ann.Rotation[0].Public().Bytes(), Signature: ann.Rotation[0].Sign(kindCard, good.Body)}
	_, err := ann.Chain.Extend(crypto.Single{}, []*wirev1.Signed{again})
	refused(t, err, BadSignature)
	vec(t, "forks/open_chain", "a recovery card signed once more with a lower key", inputs{Cards: rawCards(t, append(ann.Chain.Signed(0), again))}, BadSignature)
	if _, err := ann.Chain.Extend(crypto.Single{}, []*wirev1.Signed{good}); err != nil {
		t.Error(err)
	}
}

// The paper key undoes what a thief did with the key file, within seven days.
func ExampleCompare() {
	paper := []byte("thirty-two bytes shown on paper.")
	ann, _ := NewKeyring(RoleUser, paper, testTime(), from("example"))
	top, _ := crypto.SigningKeyFromSeed(paper)
	branch := func(k crypto.SigningKey, device string) Sighting {
		signer, _ := crypto.NewSigningKey(from(device))
		h := ann.Chain.Head()
		s, _ := SignCard(CardDraft{Rotation: h.Rotation, Signers: []crypto.VerifyKey{signer.Public()}, Boxes: h.Boxes, Time: testTime(), Role: h.Role}, h, k)
		c, _ := ann.Chain.Extend(crypto.Single{}, []*wirev1.Signed{s})
		return Sighting{Chain: c, FirstSeen: []time.Time{testTime(), testTime()}}
	}
	thief, rescue := branch(ann.Rotation[0], "thief"), branch(top, "ann")
	rescue.FirstSeen[1] = testTime().Add(6 * 24 * time.Hour)
	standing, _ := Compare(thief, rescue)
	fmt.Println(standing == Wins)
	// Output: true
}
