package storetest_test

import (
	"fmt"

	"airdispatch/store/storetest"
)

func ExampleNewPerson() {
	ann, err := storetest.NewPerson("ann")
	if err != nil {
		panic(err)
	}
	again, err := storetest.NewPerson("ann")
	if err != nil {
		panic(err)
	}
	s, err := ann.Write(storetest.Draft{Body: "to everybody"})
	fmt.Println(ann.Address() == again.Address(), s.Head.Version, err)
	// Output: true 1 <nil>
}
