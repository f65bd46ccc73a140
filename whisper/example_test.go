package whisper_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"

	"airdispatch/whisper"
)

// Two peers in one program; the second knows the first.
func ExampleNode() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	node := func(nick string, peers ...string) *whisper.Node {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		n, err := whisper.New(whisper.Config{
			Nick: nick, Addr: l.Addr().String(), Peers: peers, Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader,
		})
		if err != nil {
			panic(err)
		}
		go func() { done <- n.Run(ctx, l) }()
		return n
	}
	ann := node("ann")
	ear, _ := ann.Hear(0)
	bob := node("bob", ann.Addr())
	if err := bob.Say("hello, ann"); err != nil {
		panic(err)
	}
	m := <-ear.C
	fmt.Println(m.Nick+":", m.Body)
	cancel()
	fmt.Println(<-done, <-done)
	// Output:
	// bob: hello, ann
	// <nil> <nil>
}
