package memory_test

import (
	"context"
	"fmt"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/memory"
)

func ExampleNewTracker() {
	ctx := context.Background()
	t := memory.NewTracker()
	ann := message.Address{1}
	fmt.Println(t.Names.ClaimName(ctx, store.NameClaim{Name: "ann", Address: ann}, 1))
	claim, err := t.Names.Name(ctx, "ann")
	fmt.Println(claim.Address == ann, err)
	// Output:
	// <nil>
	// true <nil>
}
