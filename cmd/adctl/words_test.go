package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
)

func TestPlainWords(t *testing.T) {
	tests := []struct{ text, want string }{
		{"client: inbox: mail server https://127.0.0.1:4431: rpc: /airdispatch.v1.Mailbox/Inbox at ad1qv9tvtcmk: unavailable; try again later: unavailable: dial tcp 127.0.0.1:4431: connect: connection refused",
			"client: inbox: the mail server https://127.0.0.1:4431 cannot be reached: connection refused"},
		{"rpc: /airdispatch.v1.Tracker/Lookup at ad1qv9tvtcmk: unavailable; try again later: unavailable: dial tcp [::1]:1: connect: connection refused",
			"[::1]:1 cannot be reached: connection refused"},
		{"rpc: /airdispatch.v1.Mailbox/Join at ad1qv9tvtcmk: not allowed", "not allowed"},
		{"client: fetch: the sender's server cannot be asked: unavailable; try again later", "client: fetch: the sender's server cannot be asked: unavailable; try again later"},
	}
	for _, tt := range tests {
		if got := plain(tt.text); got != tt.want {
			t.Errorf("%s\nnot %s", got, tt.want)
		}
	}
}

func TestAdviceByCause(t *testing.T) {
	tests := []struct {
		err  error
		says string
	}{
		{fmt.Errorf("rpc: dial 127.0.0.1: not a public address: %w", message.Denied), "--tracker REF"},
		{fmt.Errorf("rpc: x509: certificate signed by unknown authority: %w", message.BadSignature), "#ad1"},
		{fmt.Errorf("client: %w", &message.Refused{Code: message.Denied}), "suspended"},
		{fmt.Errorf("home: open: %w", home.ErrDamaged), "home.sqlite"},
		{fmt.Errorf("client: fetch: %w", client.ErrNoKey), "--keep-body"},
	}
	for _, tt := range tests {
		if got := advice(tt.err); !strings.Contains(got, tt.says) {
			t.Errorf("%v: %q", tt.err, got)
		}
	}
	if got := adviceByCause(fmt.Errorf("client: not yours: %w", message.Denied)); got != "" {
		t.Error(got)
	}
}

// realErrors are made as they are made when adctl runs: by the guarded dialer,
// the certificate check, the resolver and SQLite.
func realErrors(t *testing.T) map[string]error {
	t.Helper()
	open := func(guard rpc.Guard, ref message.Reference) error {
		c := rpc.NewClient(rpc.Config{Dial: guard.Dial, Verifier: crypto.Single{}})
		defer c.Close()
		_, _, err := c.Open(t.Context(), ref)
		return err
	}
	loopback := rpc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	out := map[string]error{
		"private": open(rpc.Guard{}, message.Reference{URL: server.URL}),
		"unknown": open(loopback, message.Reference{URL: server.URL}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out["closed"] = errors.Join(l.Close(), open(loopback, message.Reference{URL: "https://" + l.Addr().String()}))

	c, err := client.Open(t.Context(), client.Config{Home: t.TempDir(), Rand: rand.Reader, RPC: rpc.Config{Dial: loopback.Dial}})
	if err != nil {
		t.Fatal(err)
	}
	_, out["no tracker"] = c.Lookup(t.Context(), message.Address{1}.String())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, home.FileName), []byte("this is no database at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out["damaged"] = home.Open(t.Context(), dir)
	return out
}

// TestAdviceOfRealErrors: where advice hangs on the words of an error, those
// words are still the ones that are said.
func TestAdviceOfRealErrors(t *testing.T) {
	all := realErrors(t)
	for what, want := range map[string]struct {
		exit          int
		advice, plain string
	}{
		"private":    {daemon.ExitRefused, "--tracker REF", "not a public address"},
		"unknown":    {daemon.ExitVerification, "#ad1", ": its certificate is not believed: certificate signed by unknown authority"},
		"closed":     {daemon.ExitUnreachable, "try again later", " cannot be reached: connection refused"},
		"no tracker": {daemon.ExitNotFound, "--tracker REF", "no tracker is known"},
		"damaged":    {daemon.ExitFailed, "move it away", "the file is damaged"},
	} {
		err := all[what]
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		if got := advice(err); !strings.Contains(got, want.advice) {
			t.Errorf("%s: %v: advice %q", what, err, got)
		}
		if got := exitCode(err); got != want.exit {
			t.Errorf("%s: %v ends with %d", what, err, got)
		}
		got := plain(err.Error())
		if !strings.Contains(got, want.plain) || strings.Contains(got, "unavailable") || strings.Count(got, "rpc: ") > 1 {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// TestPlainSaysNothingTwice: rooms and sentences that stand side by side.
func TestPlainSaysNothingTwice(t *testing.T) {
	for text, want := range map[string]string{
		"client: inbox: client: the identity is not registered": "client: inbox: the identity is not registered",
		"not found: not found":   "not found",
		"client: client: rpc: x": "client: x",
		"a: b: a":                "a: b: a",
		"":                       "",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestAdviceOfDraft: who is told of a conflict learns what becomes of the draft.
func TestAdviceOfDraft(t *testing.T) {
	clash := &client.ConflictError{Ref: message.Ref{From: message.Address{1}, MID: message.MID{2}}, Mine: 2, Stands: 3, Err: message.Conflict}
	for _, tt := range []struct {
		err  error
		says []string
	}{
		{clash, []string{"adctl read " + clash.Ref.String(), "then edit that"}},
		{&client.DraftError{ID: 7, Err: clash}, []string{"adctl read " + clash.Ref.String(), "adctl drafts send 7", "adctl drafts delete 7"}},
	} {
		err := conflict(tt.err)
		for _, want := range tt.says {
			if got := advice(err); !strings.Contains(got, want) {
				t.Errorf("%v: %q", err, got)
			}
		}
		if exitCode(err) != daemon.ExitRefused {
			t.Errorf("%v ends with %d", err, exitCode(err))
		}
	}
	if err := conflict(message.Recalled); err != message.Recalled {
		t.Error(err)
	}
}
