package blobfile_test

import (
	"os"
	"testing"

	"airdispatch/store"
	"airdispatch/store/blobfile"
	"airdispatch/store/storetest"
)

func open(t *testing.T) store.Blobs {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	b, err := blobfile.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlobs(t *testing.T) { storetest.RunBlobs(t, open) }
