package main

import "testing"

// FuzzControl fails for inputs of one form, which a fuzzer that works finds: the
// proof deletes what it leaves behind.
func FuzzControl(f *testing.F) {
	f.Add([]byte("air"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3 && b[0] == 'a' && b[len(b)-1] > 0x7f {
			t.Fatal("found, as it should be")
		}
	})
}
