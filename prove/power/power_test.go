package main

import (
	"context"
	"io"
	"testing"

	"airdispatch/prove/proof"
)

// TestFew runs the part at a small count: nothing is violated, and both
// controls, which run has no figure without, are caught.
func TestFew(t *testing.T) {
	f, err := run(context.Background(), proof.Options{N: 60, Seed: 7, Dir: t.TempDir(), Said: io.Discard})
	if err != nil || len(f.Violations) > 0 {
		t.Fatal(f.Violations, err)
	}
	t.Log(f.Words)
}
