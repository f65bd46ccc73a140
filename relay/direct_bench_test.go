package relay_test

import "testing"

// BenchmarkDirect is bytes from end to end without the relay, sealed twice and opened twice, all
// in one process; beside BenchmarkRelayed and BenchmarkPlainCopy.
func BenchmarkDirect(b *testing.B) {
	m := newMeadow(b)
	l, conns := m.pair(true)
	near, far := m.connect(l, conns, true)
	becomes(b, true, near, far)
	b.ReportAllocs()
	carry(b, near, far)
}
