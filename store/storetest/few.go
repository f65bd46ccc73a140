package storetest

import (
	"flag"
	"fmt"
)

// FewSequences has rapid run n sequences in each test instead of its usual
// hundred, for models that keep files and so sync them, unless the command line
// says how many (-rapid.checks). Flags must have been parsed.
func FewSequences(n int) error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if given {
		return nil
	}
	return flag.Set("rapid.checks", fmt.Sprint(n))
}
