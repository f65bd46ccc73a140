package client_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
)

// Opening a home, and sending a letter from it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "home")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		fmt.Println(err)
		return
	}
	keyring, err := message.NewKeyring(message.RoleUser, paper, time.Now(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.Open(ctx, client.Config{Home: dir, Keyring: keyring, Rand: rand.Reader, RPC: rpc.Config{Dial: rpc.Guard{}.Dial}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	// Without an account nothing can be sent; Register opens one.
	_, err = c.Send(ctx, client.Draft{To: []string{"ann@tracker.example"}, Subject: "Hello", Body: "How are you?"})
	fmt.Println(err)
	// Output: client: the identity is not registered at a mail server
}

// A contact is one's own name for an address; it can never be mistaken for one.
func ExampleCheckContactName() {
	for _, name := range []string{"Ann", "ad1qann", "ann@tracker.example"} {
		fmt.Println(client.CheckContactName(name) == nil)
	}
	// Output:
	// true
	// false
	// false
}
