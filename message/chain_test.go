package message

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// line is ann's chain of n cards.
func line(t testing.TB, ann *person, n int) *Chain {
	t.Helper()
	c := ann.Chain
	for c.Len() < n {
		d := ann.draft()
		d.Time = d.Time.Add(time.Duration(c.Len()) * time.Second)
		c = after(t, c, d, ann.Rotation[0])
	}
	return c
}

func TestChainRefusals(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	c := line(t, ann, 4)
	s := c.Signed(0)
	d := ann.draft()
	closing := d
	closing.Closed = true
	closed := after(t, c, closing, ann.paper)
	changed := d
	changed.Role = RoleServer
	sign := func(d CardDraft, prev *Chain, k crypto.SigningKey) *wirev1.Signed {
		return must(SignCard(d, prev.Head(), k))(t)
	}
	stranger := func() *wirev1.Signed {
		var w wirev1.Card
		if err := proto.Unmarshal(sign(d, c, ann.paper).Body, &w); err != nil {
			t.Fatal(err)
		}
		return must(signAs(kindCard, &w, bob.Rotation[0]))(t)
	}
	for name, x := range map[string]struct {
		cards []*wirev1.Signed
		want  Code
	}{
		"none":                    {nil, Invalid},
		"a nil card":              {[]*wirev1.Signed{s[0], nil}, Invalid},
		"without the first":       {s[1:], Invalid},
		"one missing":             {[]*wirev1.Signed{s[0], s[2]}, Invalid},
		"one twice":               {[]*wirev1.Signed{s[0], s[1], s[1]}, Invalid},
		"begins again":            {[]*wirev1.Signed{s[0], s[1], s[0], s[1]}, Invalid},
		"out of order":            {[]*wirev1.Signed{s[0], s[2], s[1]}, Invalid},
		"of another identity":     {append(bob.Chain.Signed(0), s[1]), Conflict},
		"a key of nobody":         {append(c.Signed(0), stranger()), BadSignature},
		"after the closing one":   {append(closed.Signed(0), sign(d, closed, ann.paper)), Invalid},
		"the role changes":        {append(c.Signed(0), sign(changed, c, ann.paper)), Invalid},
		"far too many":            {make([]*wirev1.Signed, MaxChain+1), TooLarge},
		"a signature of the next": {[]*wirev1.Signed{s[0], {Body: s[1].Body, Key: s[1].Key, Signature: s[2].Signature}}, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenChain(crypto.Single{}, x.cards)
			refused(t, err, x.want)
			if !slices.Contains(x.cards, nil) {
				vec(t, "chains/open_chain", name, inputs{Cards: rawCards(t, x.cards)}, x.want)
			}
		})
	}
	_, err := SignCard(d, c.Head(), bob.Rotation[0])
	refused(t, err, Invalid)
	_, err = SignCard(d, nil, crypto.SigningKey{})
	refused(t, err, Invalid)
}

// signAs signs a message as it stands.
func signAs(kind string, m proto.Message, k crypto.SigningKey) (*wirev1.Signed, error) {
	return sign(kind, m, k)
}

func TestExtendAndBranch(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	long := line(t, ann, 5)
	short := must(OpenChain(crypto.NewVerifier(), long.Signed(0)[:3]))(t)
	d := ann.draft()
	d.Closed = true
	fork := after(t, short, d, ann.paper)

	for name, x := range map[string]struct {
		from  *Chain
		cards []*wirev1.Signed
		len   int
		want  Code
	}{
		"nothing new":               {long, nil, 5, 0},
		"all of it":                 {short, long.Signed(0), 5, 0},
		"the rest":                  {short, long.Signed(3), 5, 0},
		"the rest and some before":  {short, long.Signed(2), 5, 0},
		"shorter":                   {long, short.Signed(0), 3, 0},
		"shorter, in part":          {long, short.Signed(2), 3, 0},
		"another branch":            {long, fork.Signed(0), 4, 0},
		"another branch, in part":   {long, fork.Signed(3), 4, 0},
		"a gap":                     {short, long.Signed(4), 0, NeedBundle},
		"leaves a card not known":   {fork, long.Signed(4), 0, NeedBundle},
		"of another identity":       {long, bob.Chain.Signed(0), 0, Invalid},
		"no statement":              {long, []*wirev1.Signed{nil}, 0, Invalid},
		"after another one's cards": {long, line(t, bob, 2).Signed(1), 0, NeedBundle},
	} {
		t.Run("branch "+name, func(t *testing.T) {
			got, err := x.from.Branch(crypto.Single{}, x.cards)
			if !slices.Contains(x.cards, nil) {
				vec(t, "chains/branch", "branch: "+name, inputs{Cards: cardsOf(t, x.from), Other: rawCards(t, x.cards)}, x.want)
			}
			if x.want != 0 {
				refused(t, err, x.want)
				return
			}
			if err != nil || got.Len() != x.len || got.Address() != ann.Address() {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}

	if c := must(short.Extend(crypto.Single{}, long.Signed(1)))(t); c.Len() != 5 || short.Len() != 3 {
		t.Errorf("extended to %d, from %d", c.Len(), short.Len())
	}
	_, err := long.Extend(crypto.Single{}, fork.Signed(0))
	refused(t, err, Conflict)
	_, err = long.Extend(crypto.Single{}, fork.Signed(3))
	refused(t, err, Conflict)
}

// A card that is known is not verified again, and its known frame is kept; one
// that is not known is.
func TestBranchTrustsOnlyWhatItKnows(t *testing.T) {
	ann := user(t, "ann")
	known := line(t, ann, 2)
	cards := line(t, ann, 3).Signed(0)
	for i := range cards {
		bad := proto.CloneOf(cards[i])
		bad.Signature[0] ^= 1
		list := append([]*wirev1.Signed{}, cards...)
		list[i] = bad
		c, err := known.Branch(crypto.Single{}, list)
		if i == 2 {
			refused(t, err, BadSignature)
		} else if err != nil || !proto.Equal(c.Signed(0)[i], cards[i]) {
			t.Errorf("card %d: %v", i, err)
		}
	}
}

// TestBranchDoesNotMix: a card that is known counts behind the cards that it was known
// behind, and behind no other that a holder of a rotation key has signed in their place.
func TestBranchDoesNotMix(t *testing.T) {
	ann := user(t, "ann")
	known := line(t, ann, 3)
	genesis, _ := known.At(0)
	d := ann.draft()
	d.Time = d.Time.Add(time.Hour)
	other := must(SignCard(d, genesis, ann.paper))(t)
	cards := known.Signed(0)
	_, err := known.Branch(crypto.Single{}, []*wirev1.Signed{cards[0], other, cards[2]})
	refused(t, err, Conflict)
	_, err = known.Branch(crypto.Single{}, []*wirev1.Signed{other, cards[2]})
	refused(t, err, Conflict)
}

func TestChainOfFullLength(t *testing.T) {
	ann := user(t, "ann")
	full := line(t, ann, MaxChain)
	if c := must(OpenChain(crypto.NewVerifier(), full.Signed(0)))(t); c.Len() != MaxChain {
		t.Errorf("%d cards", c.Len())
	}
	one := must(SignCard(ann.draft(), full.Head(), ann.paper))(t)
	_, err := full.Extend(crypto.Single{}, []*wirev1.Signed{one})
	refused(t, err, TooLarge)
}

func TestChainReaders(t *testing.T) {
	ann := user(t, "ann")
	c := line(t, ann, 3)
	for i := range 3 {
		card, ok := c.At(uint64(i))
		if found, there := c.Card(card.ID); !ok || !there || found != card || card.Seq != uint64(i) {
			t.Errorf("card %d", i)
		}
	}
	if _, ok := c.At(3); ok {
		t.Error("a fourth card")
	}
	if _, ok := c.Card(ID{1}); ok {
		t.Error("a card of no id")
	}
	for from, want := range map[int]int{-1: 3, 0: 3, 2: 1, 3: 0, 9: 0} {
		if got := len(c.Signed(from)); got != want {
			t.Errorf("%d cards from %d on, want %d", got, from, want)
		}
	}
}

// A key that a newer card removed signs nothing any more, and neither does an
// identity that has ended.
func TestRevokedAndClosed(t *testing.T) {
	ann := user(t, "ann")
	device := key(t, "device")
	d := ann.draft()
	d.Signers = append(d.Signers[:1:1], device.Public())
	both := after(t, ann.Chain, d, ann.paper)
	d.Signers = d.Signers[1:]
	revoked := after(t, both, d, ann.paper)
	d.Closed = true
	closed := after(t, revoked, d, ann.paper)

	old := must(ParseHead(ann.seal(t, ann.post(t, "profile", "I am Ann")).Head.Signed))(t)
	byDevice := Draft{Author: both, Time: testTime(), Audience: Public, Terms: Final, Name: "x", Content: text("x")}
	fromDevice := must(ParseHead(must(Seal(byDevice, device, from("seal")))(t).Head.Signed))(t)
	for name, x := range map[string]struct {
		claim HeadClaim
		chain *Chain
		want  Code
		kept  Code
	}{
		"before":                    {old, ann.Chain, 0, 0},
		"still listed":              {old, both, 0, 0},
		"removed":                   {old, revoked, BadSignature, 0},
		"the other device":          {fromDevice, revoked, 0, 0},
		"ended":                     {fromDevice, closed, Denied, 0},
		"removed and ended":         {old, closed, BadSignature, 0},
		"by a card not known":       {fromDevice, ann.Chain, NeedBundle, NeedBundle},
		"of another author":         {old, user(t, "bob").Chain, Invalid, Invalid},
		"not in the card it names ": {resigned(t, old, device), both, BadSignature, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			vec(t, "heads/open_head", "signer: "+name, inputs{Cards: cardsOf(t, x.chain), Statement: bytesOf(t, x.claim.head.Signed)}, x.want)
			if _, err := x.claim.Verify(crypto.Single{}, x.chain); x.want != 0 || err != nil {
				refused(t, err, x.want)
			}
			if _, err := x.claim.VerifyKept(crypto.Single{}, x.chain); x.kept != 0 || err != nil {
				refused(t, err, x.kept)
			}
		})
	}
}

// resigned is a claim with the same body under another key.
func resigned(t testing.TB, c HeadClaim, k crypto.SigningKey) HeadClaim {
	t.Helper()
	body := c.head.Signed.Body
	return must(ParseHead(&wirev1.Signed{Body: body, Key: k.Public().Bytes(), Signature: k.Sign(kindHead, body)}))(t)
}
