package main

import (
	"fmt"
	"strings"
	"testing"

	"airdispatch/message"
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
		{fmt.Errorf("home: open: file is not a database"), "home.sqlite"},
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
