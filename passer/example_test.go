package passer_test

import (
	"errors"
	"fmt"

	"airdispatch/message"
	"airdispatch/passer"
)

func ExampleCheckName() {
	fmt.Println(passer.CheckName("clientA"))
	err := passer.CheckName("client:1")
	fmt.Println(err)
	fmt.Println(errors.Is(err, message.Invalid))
	// Output:
	// <nil>
	// passer: name has a colon: the request does not have the form that the protocol asks for
	// true
}
