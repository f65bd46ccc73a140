package relay_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"airdispatch/relay"
)

// free is what a benchmark's relay allows.
func free() relay.Limits {
	return relay.Limits{BytesPerSecond: -1, ConnectionsPerAddress: -1, Connections: -1, SocketsPerAddress: -1}
}

// carry writes b.N pieces to one end and reads them at the other.
func carry(b *testing.B, near io.WriteCloser, far io.Reader) {
	piece := make([]byte, 64<<10)
	b.SetBytes(int64(len(piece)))
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := near.Write(piece); err != nil {
				return
			}
		}
		_ = near.Close()
	}()
	if n, err := io.Copy(io.Discard, far); err != nil || n != int64(b.N*len(piece)) {
		b.Fatal(n, err)
	}
}

// BenchmarkRelayed is bytes through a relay, sealed and opened at the ends, all in
// one process.
func BenchmarkRelayed(b *testing.B) {
	w := newWorld(b, free(), "alice", "bob")
	near, far := w.call(w.line("alice", relay.LineConfig{}), "alice", "bob", "x", w.listener("bob", "x"))
	carry(b, near, far)
}

// BenchmarkPlainCopy is the same bytes through a process that copies from one TCP
// connection to another: what Relayed is measured against.
func BenchmarkPlainCopy(b *testing.B) {
	pair := func() (net.Conn, net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		return near, far
	}
	near, in := pair()
	out, far := pair()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// As a program copies that looks at what it passes: without splice(2).
		_, _ = io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in})
		_ = out.Close()
	}()
	carry(b, near, far)
	<-done
}

// BenchmarkConnect is connections made, proved and closed one after the other.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b, free(), "alice", "bob")
	conns := w.listener("bob", "x")
	l := w.line("alice", relay.LineConfig{})
	b.ResetTimer()
	for range b.N {
		near, far := w.call(l, "alice", "bob", "x", conns)
		_ = near.Close()
		_ = far.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connections/s")
}

// BenchmarkIdle is what 10,000 connections cost that nobody uses: relay and both
// ends together, before TLS, and with it.
func BenchmarkIdle(b *testing.B) {
	for _, secured := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", secured), func(b *testing.B) {
			for range b.N {
				idle(b, secured)
			}
		})
	}
}

func idle(b *testing.B, secured bool) {
	const n = 10_000
	w := newWorld(b, free(), "alice", "bob")
	serving := make(chan struct{}, 1)
	far := make(chan any, n)
	w.line("bob", relay.LineConfig{
		Protocols: []string{"x"}, OnServing: func() { serving <- struct{}{} },
		OnCall: func(ctx context.Context, in *relay.Incoming) {
			s := in.Accept()
			if !secured {
				far <- s
				return
			}
			c, err := relay.Secure(ctx, s, w.ends("bob", "alice", false))
			if err != nil {
				b.Error(err)
			}
			far <- c
		},
	})
	<-serving
	l := w.line("alice", relay.LineConfig{})
	before := heap()
	kept := make([]any, 0, 2*n)
	for range n {
		s, err := l.Call(b.Context(), w.people["bob"].Address(), "x", nil)
		if err != nil {
			b.Fatal(err)
		}
		if !secured {
			kept = append(kept, s, <-far)
			continue
		}
		c, err := relay.Secure(b.Context(), s, relay.Ends{Keyring: w.people["alice"], Peer: w.people["bob"].Chain, Caller: true, Rand: rand.Reader})
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, c, <-far)
	}
	b.ReportMetric(float64(heap()-before)/n, "B/connection")
	if got := w.server.Counts(); got.Connections != n {
		b.Errorf("%d connections", got.Connections)
	}
	runtime.KeepAlive(kept)
}

// heap is the bytes that are in use, stacks included.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
