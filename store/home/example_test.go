package home_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"airdispatch/message"
	"airdispatch/store/home"
)

// A name is pinned when it is first resolved; what the tracker says later
// changes nothing until a person accepts it.
func ExampleHome_Resolve() {
	dir, err := os.MkdirTemp("", "home")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	h, err := home.Open(ctx, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()

	first, second := message.Address{1}, message.Address{2}
	for _, a := range []message.Address{first, second} {
		pin, err := h.Resolve(ctx, "ann@tracker.example", a, time.Now())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pin.Address == first, pin.Offered == second)
	}
	// Output:
	// true false
	// true true
}
