package maild

import (
	"errors"
	"testing"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/mailserver"
)

// TestLeaveRoom: what nobody set is 1 GiB or a twentieth, and where free space
// cannot be told there is no reserve.
func TestLeaveRoom(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name           string
		set, total     int64
		err, wantErr   error
		want, wantFree int64
	}{
		{"large", 0, 1 << 40, nil, nil, 1 << 30, 7},
		{"small", 0, 1 << 30, nil, nil, 1 << 30 / 20, 7},
		{"nothing", 0, 0, nil, nil, 1, 7},
		{"set", 5 << 30, 1 << 30, nil, nil, 5 << 30, 7},
		{"none", -1, 1 << 40, nil, nil, -1, 7},
		{"cannot be told", 0, 0, errors.ErrUnsupported, nil, 0, 0},
		{"fails", 0, 0, broken, broken, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := newConfig()
			settings.Limits.ReserveBytes = c.set
			mc := mailserver.Config{Limits: settings.serverLimits()}
			err := leaveRoom(&mc, func() (daemon.Space, error) { return daemon.Space{Free: 7, Total: c.total}, c.err })
			if !errors.Is(err, c.wantErr) || mc.Limits.ReserveBytes != c.want {
				t.Fatalf("%v and a reserve of %d, want %v and %d", err, mc.Limits.ReserveBytes, c.wantErr, c.want)
			}
			if (mc.Free != nil) != (c.wantFree > 0) {
				t.Fatalf("free can be told: %t", mc.Free != nil)
			}
			if mc.Free != nil {
				if free, err := mc.Free(); err != nil || free != c.wantFree {
					t.Errorf("free: %d, %v", free, err)
				}
			}
		})
	}
}

// TestSpaceOf: of a real directory it can be told.
func TestSpaceOf(t *testing.T) {
	s, err := daemon.SpaceOf(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("not on this system")
	}
	if err != nil || s.Free < 0 || s.Total < s.Free || s.Total == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
}
