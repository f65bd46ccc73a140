package relay_test

import (
	"errors"
	"fmt"

	"airdispatch/relay"
)

func ExampleReason() {
	err := fmt.Errorf("relay: call: %w", relay.NotOnline)
	fmt.Println(errors.Is(err, relay.NotOnline), relay.NotOnline.Name())
	fmt.Println(relay.CheckProtocol("chat/2") == nil, relay.CheckProtocol("no spaces") == nil)
	// Output:
	// true not_online
	// true false
}
