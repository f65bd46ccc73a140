package main

import "testing"

// TestVisible: what a stranger wrote cannot command a terminal or deceive the
// eye; it is shown as what it is.
func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain words, größer, 日本":    "plain words, größer, 日本",
		"two\nlines\tand a tab":      "two\nlines\tand a tab",
		"\x1b[2J\x1b]0;title\x07":    "<U+001B>[2J<U+001B>]0;title<U+0007>",
		"over\rwritten":              "over<U+000D>written",
		"evil\u202egpj.exe":          "evil<U+202E>gpj.exe",
		"\u2066hidden\u2069":         "<U+2066>hidden<U+2069>",
		"zero\u200bwidth\ufeff":      "zero<U+200B>width<U+FEFF>",
		"c1 \u009b31m":               "c1 <U+009B>31m",
		"tag \U000E0041 and \u00adx": "tag <U+E0041> and <U+00AD>x",
	} {
		if got := visible(in); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := oneLine("a\tb\n\x1bc"), "a b <U+001B>c"; got != want {
		t.Errorf("oneLine: %q, want %q", got, want)
	}
}
