package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// smallOrderPoints are all encodings of the eight points of small order: eight canonical ones, then six others.
var smallOrderPoints = []string{
	"0100000000000000000000000000000000000000000000000000000000000000", // the identity
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// verifiers returns one of each sort.
func verifiers() map[string]Verifier {
	return map[string]Verifier{"single": Single{}, "batch": NewVerifier()}
}

// signed returns n good checks by a few keys.
func signed(t testing.TB, n int) []Check {
	t.Helper()
	checks := make([]Check, n)
	for i := range checks {
		key := signingKey(t, fmt.Sprint(i%7))
		body := fmt.Append(nil, "body ", i)
		checks[i] = Check{key.Public(), "card", body, key.Sign("card", body)}
	}
	return checks
}

// mixed returns a signature that satisfies 8sB = 8R + 8kA but not sB = R + kA, by a key whose point has a component of small
// order; and the plain one by the same secret, to show that the construction is right.
func mixed(t testing.TB, kind string, body []byte, torsionA, torsionR string) Check {
	t.Helper()
	wide := func(name string) *scalar.Scalar {
		sum := sha512.Sum512([]byte(name))
		s, err := scalar.NewFromBytesModOrderWide(sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	point := func(s *scalar.Scalar, torsion string) curve.CompressedEdwardsY {
		var p, small curve.EdwardsPoint
		c := curve.CompressedEdwardsY(unhex(t, torsion))
		if _, err := small.SetCompressedY(&c); err != nil {
			t.Fatal(err)
		}
		p.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
		p.Add(&p, &small)
		c.SetEdwardsPoint(&p)
		return c
	}
	a, r := wide("a"), wide("r")
	A, R := point(a, torsionA), point(r, torsionR)
	k := wide(string(slices.Concat(R[:], A[:], appendSigned(nil, kind, body))))
	s := scalar.New().Mul(k, a)
	s.Add(s, r)
	signature := make([]byte, 64)
	copy(signature, R[:])
	if err := s.ToBytes(signature[32:]); err != nil {
		t.Fatal(err)
	}
	return Check{VerifyKey(A), kind, body, signature}
}

// edgeCases returns checks on which rules of verification are known to differ, with ZIP-215's verdict.
func edgeCases(t testing.TB) (checks []Check, want []bool) {
	t.Helper()
	add := func(c Check, good bool) { checks, want = append(checks, c), append(want, good) }
	body := []byte("body")
	for _, a := range smallOrderPoints {
		for _, r := range smallOrderPoints {
			add(Check{VerifyKey(unhex(t, a)), "card", body, append(unhex(t, r), make([]byte, 32)...)}, true)
		}
	}
	for _, a := range smallOrderPoints[:8] {
		for _, r := range smallOrderPoints[:8] {
			c := mixed(t, "card", body, a, r)
			add(c, true)
			c.Body = []byte("another body")
			add(c, false)
		}
	}
	good := signed(t, 1)[0]
	add(good, true)
	for _, change := range []func(*Check){
		func(c *Check) { c.Kind = "route" },
		func(c *Check) { c.Kind = "" },
		func(c *Check) { c.Kind = "card\n" },
		func(c *Check) { c.Body = append([]byte{'\n'}, c.Body...) },
		func(c *Check) { c.Signature = nil },
		func(c *Check) { c.Signature = c.Signature[:63] },
		func(c *Check) { c.Signature = append(slices.Clone(c.Signature), 0) },
		func(c *Check) { c.Signature = bytes.Repeat([]byte{0xff}, 64) },
		func(c *Check) { c.Signature = plusOrder(t, c.Signature) },
		func(c *Check) { c.Key = VerifyKey{2} }, // not a point
		func(c *Check) { c.Key = signingKey(t, "another").Public() },
	} {
		c := good
		change(&c)
		add(c, false)
	}
	return checks, want
}

// plusOrder adds the order of the group to the scalar of a signature: the same equation, another spelling.
func plusOrder(t testing.TB, signature []byte) []byte {
	t.Helper()
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	c, carry := slices.Clone(signature), 0
	for i := range order {
		carry += int(c[32+i]) + int(order[i])
		c[32+i] = byte(carry)
		carry >>= 8
	}
	return c
}

// TestVerdictsAgree puts every edge case to every verifier alone, all together, next to good ones and next to bad ones.
func TestVerdictsAgree(t *testing.T) {
	t.Parallel()
	checks, want := edgeCases(t)
	for name, v := range verifiers() {
		for i, c := range checks {
			if got := v.Verify(c); got != want[i] {
				t.Errorf("%s: case %d alone: %v, want %v", name, i, got, want[i])
			}
		}
		if got := v.VerifyAll(checks); !slices.Equal(got, want) {
			t.Errorf("%s: all together: %v, want %v", name, got, want)
		}
		var good []Check
		for i, c := range checks {
			if want[i] {
				good = append(good, c)
			}
		}
		if slices.Contains(v.VerifyAll(good), false) {
			t.Errorf("%s: a batch of good ones has a bad one", name)
		}
	}
}

// TestRuleIsNotTheStandardLibrarys makes sure that the edge cases above are ones: crypto/ed25519 judges some of them
// otherwise, which is why it must not be used to verify.
func TestRuleIsNotTheStandardLibrarys(t *testing.T) {
	t.Parallel()
	checks, want := edgeCases(t)
	var differ int
	for i, c := range checks {
		if validKind(c.Kind) && ed25519.Verify(c.Key[:], appendSigned(nil, c.Kind, c.Body), c.Signature) != want[i] {
			differ++
		}
	}
	if differ < 100 {
		t.Errorf("%d of %d cases tell the rules apart", differ, len(checks))
	}
	plain := mixed(t, "card", []byte("b"), smallOrderPoints[0], smallOrderPoints[0])
	if !ed25519.Verify(plain.Key[:], appendSigned(nil, "card", []byte("b")), plain.Signature) {
		t.Error("the construction of mixed signatures is wrong")
	}
}

// TestBadOnesAreFound hides bad signatures in large batches.
func TestBadOnesAreFound(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 94, 95, 96, 255, 256, 257, 600} {
		checks, want := signed(t, n), make([]bool, n)
		for i := range want {
			want[i] = true
		}
		for range min(n, 3) {
			i := random.IntN(n)
			checks[i].Signature = flipped(checks[i].Signature, random.IntN(512))
			want[i] = false
		}
		for i := range checks { // two flips may cancel out
			want[i] = Single{}.Verify(checks[i])
		}
		if got := NewVerifier().VerifyAll(checks); !slices.Equal(got, want) || !slices.Contains(got, false) && n > 1 {
			t.Errorf("batch of %d: wrong verdicts", n)
		}
	}
	if got := NewVerifier().VerifyAll(nil); len(got) != 0 {
		t.Errorf("no checks give %d verdicts", len(got))
	}
}

// TestEveryBitCounts flips each bit of key and signature.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	good := signed(t, 1)[0]
	for name, v := range verifiers() {
		for i := range 512 {
			c := good
			c.Signature = flipped(c.Signature, i)
			if v.Verify(c) {
				t.Errorf("%s: bit %d of the signature does not count", name, i)
			}
		}
		for i := range 256 {
			c := good
			c.Key = VerifyKey(flipped(c.Key[:], i))
			if v.Verify(c) {
				t.Errorf("%s: bit %d of the key does not count", name, i)
			}
		}
	}
}

// TestBatchConcurrently lets many callers use one verifier, each with good and bad ones, one at a time and many.
func TestBatchConcurrently(t *testing.T) {
	t.Parallel()
	checks, want := edgeCases(t)
	for _, c := range signed(t, 300) {
		checks, want = append(checks, c), append(want, true)
	}
	v := NewVerifier()
	var group sync.WaitGroup
	for caller := range 32 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(caller)))
			for range 30 {
				first := random.IntN(len(checks))
				last := min(len(checks), first+1+random.IntN(1+caller*10))
				if got := v.VerifyAll(checks[first:last]); !slices.Equal(got, want[first:last]) {
					t.Errorf("caller %d: wrong verdicts", caller)
				}
				if got := v.Verify(checks[first]); got != want[first] {
					t.Errorf("caller %d: case %d: %v", caller, first, got)
				}
			}
		})
	}
	group.Wait()
	if v.leaders != 0 || len(v.queue) != 0 {
		t.Errorf("%d leaders and %d in the queue are left over", v.leaders, len(v.queue))
	}
}

// TestQueueBecomesOneBatch holds the lead and sees what a queue of callers turns into when it is passed on.
func TestQueueBecomesOneBatch(t *testing.T) {
	t.Parallel()
	v := NewVerifier()
	v.limit, v.leaders = 1, 1 // as if somebody were leading
	for _, n := range []int{1, 200, 55, 1, 300, 1} {
		v.queue = append(v.queue, &request{checks: signed(t, n), good: make([]bool, n), wake: make(chan bool, 1)})
	}
	queued := slices.Clone(v.queue)
	var group sync.WaitGroup
	for i, r := range queued {
		group.Go(func() {
			leads := <-r.wake
			if want := i == 0 || i == 3 || i == 4 || i == 5; leads != want { // 256 checks, 1, 300 and 1
				t.Errorf("caller %d leads: %v, want %v", i, leads, want)
			}
			if leads {
				v.lead(r)
			}
			if slices.Contains(r.good, false) {
				t.Errorf("caller %d: a good signature is refused", i)
			}
		})
	}
	v.passOn()
	group.Wait()
	if v.leaders != 0 || v.queue != nil {
		t.Errorf("%d leaders and %d in the queue are left over", v.leaders, len(v.queue))
	}
}

// TestLargeBodyIsNotKept checks that one large body does not stay in the workspace for ever.
func TestLargeBodyIsNotKept(t *testing.T) {
	t.Parallel()
	key, body := signingKey(t, "a"), noise(t, 200<<10)
	v, w := NewVerifier(), &workspace{}
	w.batch = v.scratch.New().(*workspace).batch
	c := Check{key.Public(), "k", body, key.Sign("k", body)}
	r := &request{checks: []Check{c, c}, good: make([]bool, 2)}
	v.judge(w, []*request{r})
	if !r.good[0] || !r.good[1] || cap(w.signed) > 64<<10 {
		t.Errorf("verdict %v, %d bytes kept", r.good[0], cap(w.signed))
	}
}

func BenchmarkVerify(b *testing.B) {
	checks := signed(b, 256)
	b.Run("single", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if !(Single{}).Verify(checks[i%len(checks)]) {
				b.Fatal("refused")
			}
		}
	})
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("batch-%d", n), func(b *testing.B) {
			v := NewVerifier()
			for b.Loop() {
				if slices.Contains(v.VerifyAll(checks[:n]), false) {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
		})
	}
	b.Run("callers-256", func(b *testing.B) {
		v := NewVerifier()
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if !v.Verify(checks[i%len(checks)]) {
					b.Error("refused")
				}
			}
		})
	})
}
