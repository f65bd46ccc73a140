package simdisk_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"airdispatch/message"
	"airdispatch/prove/simdisk"
	"airdispatch/store"
	"airdispatch/store/sqlite"
	"airdispatch/store/storetest"
)

// TestContract holds store/sqlite to its contracts over a simulated disk: the
// driver here is no less than the one of the commands.
func TestContract(t *testing.T) {
	m := simdisk.NewMachine("contract", t.TempDir())
	storetest.RunMail(t, func(t *testing.T) *store.Mail {
		mail, _ := mail(t, m, simdisk.New(), simdisk.Setting{Checkpoint: 8})
		return mail
	})
}

// mail opens a mail server's store on a disk until the test ends.
func mail(t *testing.T, m *simdisk.Machine, d *simdisk.Disk, s simdisk.Setting) (*store.Mail, func() error) {
	t.Helper()
	p, err := m.Plug(d, s)
	if err != nil {
		t.Fatal(err)
	}
	mail, db, err := sqlite.OpenMail(context.Background(), p.DB, nil)
	if err != nil {
		t.Fatal(errors.Join(err, p.Unplug()))
	}
	closed := false
	end := func() error {
		if closed {
			return nil
		}
		closed = true
		return errors.Join(db.Close(), p.Unplug())
	}
	t.Cleanup(func() {
		if err := end(); err != nil && !d.Dead() {
			t.Error(err)
		}
	})
	return mail, end
}

// TestLoss: an account whose Join returned is there after the loss.
func TestLoss(t *testing.T) {
	ctx := context.Background()
	m := simdisk.NewMachine("loss", t.TempDir())
	d := simdisk.New()
	r := rand.New(rand.NewPCG(1, 2))
	ann := message.Address{1}
	for n := range 5 {
		s, end := mail(t, m, d, simdisk.Setting{})
		if n > 0 {
			if _, err := s.Accounts.Account(ctx, ann); err != nil {
				t.Fatalf("after loss %d: %v", n, err)
			}
		} else if err := s.Accounts.Join(ctx, store.Account{Address: ann}, nil); err != nil {
			t.Fatal(err)
		}
		after := d.Loss(r)
		if err := s.Accounts.Join(ctx, store.Account{Address: message.Address{2}}, nil); err == nil {
			t.Fatal("a dead disk takes an account")
		}
		_ = end() // of a dead disk
		d = after
	}
}
