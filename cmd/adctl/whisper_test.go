package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"airdispatch/whisper"
)

// TestFileNames: what a stranger calls a file stays in the directory, and is no
// other file than it seems.
func TestFileNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"note.txt": "note.txt", "a b.txt": "a b.txt", "../../etc/passwd": "passwd", "/etc/passwd": "passwd", `..\x`: "x",
		"": "whispered", ".": "whispered", "..": "whispered", "/": "whispered", ".profile": "profile", "-rf": "rf",
		"a\x1b[31m": "a_[31m", "x\u202etxt.exe": "x_txt.exe", "nul\x00": "nul_", "a:b": "a_b", "...": "whispered",
		strings.Repeat("x", 300) + ".jpeg": strings.Repeat("x", 95) + ".jpeg",
	} {
		if got := fileName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestWhisperLines: a message is one line, of text alone.
func TestWhisperLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m    whisper.Message
		want string
	}{
		{whisper.Message{Nick: "phil", Body: "hello  there"}, "phil: hello  there"},
		{whisper.Message{Nick: "phil", Body: "/me waves"}, "* phil waves"},
		{whisper.Message{Addr: "192.0.2.1:5", Body: "x"}, "192.0.2.1:5: x"},
		{whisper.Message{Nick: "a\nb: c", Body: "x\ny\tz"}, "a b: c: x y z"},
		{whisper.Message{Nick: "\x1b[2J", Body: "\u202eevil"}, "<U+001B>[2J: <U+202E>evil"},
		{whisper.Message{Nick: "ann", Body: "x", From: "ad1x"}, "ann [ad1x]: x"},
		{whisper.Message{Nick: "ann", Body: "x", Forged: true}, "ann [false signature]: x"},
		{whisper.Message{Nick: "x", Body: "x", From: "ad1x", Name: "ann"}, "x [ann, ad1x]: x"},
		{whisper.Message{Nick: "ann", Body: "x", From: "ad1x", Changed: true}, "ann [changed keys, ad1x]: x"},
		{whisper.Message{Nick: "ann", Body: "n.txt", FileType: "text/plain", File: []byte("x")}, "ann: n.txt (file, text/plain, 1 bytes)"},
	} {
		if got := whisperLine(c.m, ""); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestWhispered: times of strangers, which JSON must be able to say.
func TestWhispered(t *testing.T) {
	t.Parallel()
	for stamp, want := range map[int64]string{
		1795243332: "2026-11-21T", 1795243332000: "2026-11-21T", 0: "0001-", -5: "0001-", 1 << 62: "0001-",
	} {
		if got := whispered(whisper.Message{Timestamp: stamp}).Format("2006-01-02T15"); !strings.HasPrefix(got, want) {
			t.Errorf("%d is %s, want %s", stamp, got, want)
		}
	}
}

// TestWhisperEarly: what somebody says between the word that one is there and the first look is shown,
// once.
func TestWhisperEarly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node, err := whisper.New(whisper.Config{Nick: "bob", Addr: l.Addr().String(), Dial: (&net.Dialer{}).DialContext, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx, l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	early, _ := node.Hear(0)
	if _, err := io.WriteString(c, `{"ID":"1","Addr":"127.0.0.1:9","Body":"early","Nick":"ann"}`); err != nil {
		t.Fatal(err)
	}
	<-early.C // the node has it
	early.Close()
	out, in := io.Pipe()
	typed, _ := io.Pipe()
	a := &app{std: std{in: typed, out: in, err: io.Discard}}
	defer time.AfterFunc(20*time.Second, func() { _ = in.Close() }).Stop() // nothing waits so long where all is well
	talked := make(chan error, 1)
	go func() { talked <- (&talk{app: a, node: node, tell: a.sayf}).run(ctx) }()
	lines := bufio.NewScanner(out)
	for n, want := range []string{"ann: early", "ann: late"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line %d is %q, want %q", n, lines.Text(), want)
		}
		if n == 0 {
			if _, err := io.WriteString(c, `{"ID":"2","Addr":"127.0.0.1:9","Body":"late","Nick":"ann"}`); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := errors.Join(c.Close(), typed.Close(), <-ran); err != nil {
		t.Error(err)
	}
	<-talked
}
