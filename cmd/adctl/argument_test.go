package main

import (
	"errors"
	"testing"
	"time"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Time
	}{
		{"7d", now.Add(7 * 24 * time.Hour)}, {"2w", now.Add(14 * 24 * time.Hour)}, {"36h", now.Add(36 * time.Hour)}, {"1h30m", now.Add(90 * time.Minute)},
		{"2027-01-31", time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}, {"2027-01-31T12:00:00+01:00", time.Date(2027, 1, 31, 11, 0, 0, 0, time.UTC)},
		{"", time.Time{}}, {"d", time.Time{}}, {"0d", time.Time{}}, {"-1h", time.Time{}}, {"1dw", time.Time{}}, {"7dd", time.Time{}}, {"1.5d", time.Time{}},
		{"7", time.Time{}}, {"yesterday", time.Time{}}, {"2001-01-01", time.Time{}}, {"2026-11-21T12:00:00Z", time.Time{}}, {"65535w", time.Time{}},
		{"99999d", time.Time{}}, {"9999-12-31", time.Time{}}, {"10000000000h", time.Time{}},
	}
	for _, tt := range tests {
		got, err := parseExpiry(tt.text, now)
		if !got.Equal(tt.want) || (err != nil) != tt.want.IsZero() {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
		if err != nil && daemon.ExitCode(err) != daemon.ExitUsage {
			t.Errorf("%q ends with %d", tt.text, daemon.ExitCode(err))
		}
	}
}

func FuzzParseExpiry(f *testing.F) {
	for _, s := range []string{"7d", "2w", "1h30m", "2027-01-31", "2027-01-31T12:00:00Z", "", "d", "-1h"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseExpiry(s, now)
		switch {
		case err != nil && daemon.ExitCode(err) != daemon.ExitUsage:
			t.Fatalf("%q: %v", s, err)
		case err == nil && (!got.After(now) || got.Sub(now) > maxLife):
			t.Fatalf("%q: %v", s, got)
		}
	})
}

func FuzzParseComponent(f *testing.F) {
	for _, s := range []string{"a/b=c", "a/b=", "a/b", "=x", "airdispatch/subject=x", "a/b=@/no/such/file", "a b/c=d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseComponent(s)
		if err != nil {
			if daemon.ExitCode(err) != daemon.ExitUsage {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if _, err := message.MarshalContent(&message.Content{Components: []message.Component{c}}); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func TestArguments(t *testing.T) {
	if got := daemon.ExitCode(argument(message.Invalid)); got != daemon.ExitUsage {
		t.Error("an argument that cannot be right ends with ", got)
	}
	if got := daemon.ExitCode(argument(&message.Refused{Code: message.Invalid})); got == daemon.ExitUsage {
		t.Error("what a peer does not understand is no usage error")
	}
	if err := argument(message.NotFound); !errors.Is(err, message.NotFound) || daemon.ExitCode(err) != daemon.ExitNotFound {
		t.Error(err)
	}
}
