package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// metric waits until a server's metrics have a value:
//
//	metric $AT airdispatch_live_connections 1
func metric(ts *testscript.TestScript, _ bool, args []string) {
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(args[1]) + ` (\S+)$`)
	last := "nothing"
	waitUntil(ts, "the metric "+strings.Join(args[1:], " "), func() bool {
		res, err := http.Get("http://" + args[0] + "/metrics")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		ts.Check(err)
		if found := line.FindSubmatch(b); found != nil {
			last = string(found[1])
		}
		return last == args[2]
	}, &last)
}

// reads reads a page and compares it: reads http://… PATTERN
func reads(ts *testscript.TestScript, _ bool, args []string) {
	res, err := http.Get(args[0])
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	if res.StatusCode != http.StatusOK || !regexp.MustCompile(args[1]).Match(b) {
		ts.Fatalf("%s: %s, %q", args[0], res.Status, b)
	}
}

// waitUntil waits for something to become so.
func waitUntil(ts *testscript.TestScript, what string, is func() bool, last *string) {
	late, again := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-late:
			ts.Fatalf("waited in vain for %s: %s", what, *last)
		case <-again.C:
		}
	}
}

// partOf is the one hidden part in a directory, and its size; "" where there is none.
func partOf(ts *testscript.TestScript, dir string) (path string, size int64) {
	all, err := filepath.Glob(filepath.Join(ts.MkAbs(dir), ".*.part"))
	ts.Check(err)
	if len(all) == 0 {
		return "", 0
	}
	if len(all) > 1 {
		ts.Fatalf("%d parts in %s", len(all), dir)
	}
	info, err := os.Stat(all[0])
	ts.Check(err)
	return all[0], info.Size()
}

// ended waits until a program in the background has ended by itself, and compares
// its exit code: ended give 6
func ended(ts *testscript.TestScript, _ bool, args []string) {
	p := named(ts, args)
	if got := p.end(ts); strconv.Itoa(got) != args[1] {
		text, _ := p.out.now()
		ts.Fatalf("%s ended with %d, want %s:\n%s", args[0], got, args[1], text)
	}
}

// grown waits until the hidden part in a directory has so many bytes: grown files 1000000
func grown(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	last := "no part"
	waitUntil(ts, "a part of "+args[1]+" bytes", func() bool {
		path, size := partOf(ts, args[0])
		if path != "" {
			last = strconv.FormatInt(size, 10)
		}
		return size >= want
	}, &last)
}

// part sets a variable to the size of the hidden part in a directory: part SIZE files.
// With ! there must be none.
func part(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		if path, _ := partOf(ts, args[0]); path != "" {
			ts.Fatalf("there is a part: %s", path)
		}
		return
	}
	path, size := partOf(ts, args[1])
	if path == "" {
		ts.Fatalf("there is no part in %s", args[1])
	}
	ts.Setenv(args[0], strconv.FormatInt(size, 10))
}

// alter changes one byte of a file, counted from 0, or from its end where negative; of a
// directory it is the hidden part: alter big -1
func alter(ts *testscript.TestScript, _ bool, args []string) {
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path, _ = partOf(ts, args[0])
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	if at < 0 {
		size, err := f.Seek(0, io.SeekEnd)
		ts.Check(err)
		at += size
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ts.Check(err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	ts.Check(err)
}
