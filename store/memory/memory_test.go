package memory_test

import (
	"testing"

	"airdispatch/store"
	"airdispatch/store/memory"
	"airdispatch/store/storetest"
)

func TestTracker(t *testing.T) {
	storetest.RunTracker(t, func(*testing.T) *store.Tracker { return memory.NewTracker() })
}

func TestMail(t *testing.T) {
	storetest.RunMail(t, func(*testing.T) *store.Mail { return memory.NewMail(memory.NewBlobs()) })
}

func TestBlobs(t *testing.T) {
	storetest.RunBlobs(t, func(*testing.T) store.Blobs { return memory.NewBlobs() })
}
