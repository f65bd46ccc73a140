package message

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// genesis is the genesis card of p, taken apart.
func genesis(t testing.TB, p *person) *wirev1.Card {
	t.Helper()
	var w wirev1.Card
	if err := proto.Unmarshal(p.Chain.Signed(0)[0].Body, &w); err != nil {
		t.Fatal(err)
	}
	return &w
}

func TestCardRefusals(t *testing.T) {
	ann := user(t, "ann")
	k := key(t, "other")
	low := make([]byte, 33)
	low[0], low[1] = 1, 1 // the identity point
	for name, c := range map[string]struct {
		edit func(w *wirev1.Card)
		want Code
	}{
		"no role":              {func(w *wirev1.Card) { w.Role = 0 }, Invalid},
		"unknown role":         {func(w *wirev1.Card) { w.Role = 9 }, Invalid},
		"prev in genesis":      {func(w *wirev1.Card) { w.Prev = make([]byte, 32) }, Invalid},
		"no rotation":          {func(w *wirev1.Card) { w.Rotation = nil }, Invalid},
		"five rotation keys":   {func(w *wirev1.Card) { w.Rotation = manyKeys(t, 5) }, Invalid},
		"rotation key twice":   {func(w *wirev1.Card) { w.Rotation = append(w.Rotation, w.Rotation[0]) }, Invalid},
		"no signers":           {func(w *wirev1.Card) { w.Signers = nil }, Invalid},
		"seventeen signers":    {func(w *wirev1.Card) { w.Signers = manyKeys(t, 17) }, Invalid},
		"signer of low order":  {func(w *wirev1.Card) { w.Signers[0] = low }, Invalid},
		"short signer":         {func(w *wirev1.Card) { w.Signers[0] = w.Signers[0][:32] }, Invalid},
		"unknown algorithm":    {func(w *wirev1.Card) { w.Signers[0][0] = 2 }, Unsupported},
		"no boxes":             {func(w *wirev1.Card) { w.Boxes = nil }, Invalid},
		"five boxes":           {func(w *wirev1.Card) { w.Boxes = append(w.Boxes, w.Boxes[0], w.Boxes[0], w.Boxes[0]) }, Invalid},
		"box of low order":     {func(w *wirev1.Card) { w.Boxes[1].Key = make([]byte, 32) }, Invalid},
		"box of wrong length":  {func(w *wirev1.Card) { w.Boxes[1].Key = w.Boxes[0].Key }, Invalid},
		"time before 1970":     {func(w *wirev1.Card) { w.Time = -1 }, Invalid},
		"time after 9999":      {func(w *wirev1.Card) { w.Time = maxMillis + 1 }, Invalid},
		"rank out of range":    {func(w *wirev1.Card) { w.Rank = 4 }, Invalid},
		"rank of nobody":       {func(w *wirev1.Card) { w.Rank = 3 }, BadSignature},
		"rank of another":      {func(w *wirev1.Card) { w.Rank = 0 }, BadSignature},
		"signer not in list":   {func(w *wirev1.Card) { w.Rotation = [][]byte{k.Public().Bytes(), ann.paper.Public().Bytes()} }, BadSignature},
		"starts in the middle": {func(w *wirev1.Card) { w.Seq, w.Prev = 1, make([]byte, 32) }, Invalid},
		"prev of 31 bytes":     {func(w *wirev1.Card) { w.Seq, w.Prev = 1, make([]byte, 31) }, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := genesis(t, ann)
			c.edit(w)
			cards := []*wirev1.Signed{must(sign(kindCard, w, ann.Rotation[0]))(t)}
			_, err := OpenChain(crypto.Single{}, cards)
			refused(t, err, c.want)
			vec(t, "cards/open_chain", "genesis: "+name, inputs{Cards: rawCards(t, cards)}, c.want)
		})
	}
}

func manyKeys(t testing.TB, n int) [][]byte {
	t.Helper()
	var out [][]byte
	for i := range n {
		out = append(out, key(t, strings.Repeat("k", i+1)).Public().Bytes())
	}
	return out
}

// Frames that are no statement are refused before anything is parsed.
func TestFrameRefusals(t *testing.T) {
	ann := user(t, "ann")
	good := ann.Chain.Signed(0)[0]
	for name, c := range map[string]struct {
		edit func(s *wirev1.Signed) *wirev1.Signed
		want Code
	}{
		"nil":                {func(*wirev1.Signed) *wirev1.Signed { return nil }, Invalid},
		"empty":              {func(*wirev1.Signed) *wirev1.Signed { return &wirev1.Signed{} }, Invalid},
		"too large":          {func(s *wirev1.Signed) *wirev1.Signed { s.Body = make([]byte, MaxCard+1); return s }, TooLarge},
		"short signature":    {func(s *wirev1.Signed) *wirev1.Signed { s.Signature = s.Signature[:63]; return s }, Invalid},
		"long signature":     {func(s *wirev1.Signed) *wirev1.Signed { s.Signature = append(s.Signature, 0); return s }, Invalid},
		"no key":             {func(s *wirev1.Signed) *wirev1.Signed { s.Key = nil; return s }, Invalid},
		"key not on curve":   {func(s *wirev1.Signed) *wirev1.Signed { s.Key = append([]byte{1, 2}, make([]byte, 31)...); return s }, Invalid},
		"key of another alg": {func(s *wirev1.Signed) *wirev1.Signed { s.Key[0] = 7; return s }, Unsupported},
		"not a message":      {func(s *wirev1.Signed) *wirev1.Signed { s.Body = []byte{0xff}; return s }, Invalid},
		"signature altered":  {func(s *wirev1.Signed) *wirev1.Signed { s.Signature[3] ^= 1; return s }, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.edit(proto.CloneOf(good))
			_, err := OpenChain(crypto.Single{}, []*wirev1.Signed{s})
			refused(t, err, c.want)
			if s != nil {
				vec(t, "statements/open_chain", "frame: "+name, inputs{Cards: rawCards(t, []*wirev1.Signed{s})}, c.want)
			}
		})
	}
}

// A card may list a newer kind of box first; one that lists nothing else can
// be read but not written to.
func TestCardWithUnknownBoxes(t *testing.T) {
	ann := user(t, "ann")
	w := genesis(t, ann)
	w.Boxes = append([]*wirev1.Box{{Kind: 99, Key: []byte("newer")}}, w.Boxes...)
	chain := must(OpenChain(crypto.Single{}, []*wirev1.Signed{must(sign(kindCard, w, ann.Rotation[0]))(t)}))(t)
	if box, ok := chain.Head().Box(); !ok || box.Kind() != crypto.BoxHybrid {
		t.Errorf("box to seal to is %v, %v", box.Kind(), ok)
	}
	w.Boxes = w.Boxes[:1]
	chain = must(OpenChain(crypto.Single{}, []*wirev1.Signed{must(sign(kindCard, w, ann.Rotation[0]))(t)}))(t)
	bob := user(t, "bob")
	d := bob.letter(t, "hello", ann)
	d.Readers = []*Chain{chain}
	_, err := Seal(d, bob.Signer, from("seal"))
	refused(t, err, Unsupported)
}

// Fields that this version does not know are signed along, kept and passed on.
func TestUnknownFieldsSurvive(t *testing.T) {
	ann := user(t, "ann")
	w := genesis(t, ann)
	w.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 3, 'n', 'e', 'w'}) // field 127
	s := must(sign(kindCard, w, ann.Rotation[0]))(t)
	chain := must(OpenChain(crypto.Single{}, []*wirev1.Signed{s}))(t)
	if got := chain.Signed(0)[0]; !proto.Equal(got, s) || !strings.Contains(string(got.Body), "new") {
		t.Error("the statement is not kept as it was received")
	}
}

func TestRoleWords(t *testing.T) {
	for role, want := range map[Role]string{RoleUser: "user", RoleServer: "server", RoleTracker: "tracker", 77: "unknown"} {
		if got := role.String(); got != want {
			t.Errorf("role %d is %q, want %q", role, got, want)
		}
	}
}
