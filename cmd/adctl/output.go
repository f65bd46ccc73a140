package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"airdispatch/message"
)

// visible makes text from strangers harmless on a terminal: what does not show
// itself (escape sequences, characters without width, changes of direction) is
// shown as its number. Line feeds and tabs stay.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			_, _ = fmt.Fprintf(&b, "<U+%04X>", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hidden reports whether r would not show itself.
func hidden(r rune) bool { return r != '\n' && r != '\t' && !message.Visible(r) }

// oneLine is visible text without line feeds, for tables.
func oneLine(s string) string {
	return strings.Join(strings.Fields(visible(s)), " ")
}

// print writes data: as it is into a pipe or file, visible on a terminal.
func (a *app) print(s string) error {
	if isTerminal(a.out) {
		s = visible(s)
	}
	_, err := io.WriteString(a.out, s)
	return err
}

// printf is print with a format.
func (a *app) printf(format string, args ...any) error { return a.print(fmt.Sprintf(format, args...)) }

// emit writes v as one line of JSON.
func (a *app) emit(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(a.out, escaped(b.String()))
	return err
}

// escaped writes what would not show itself in a JSON text as its number: it stays the same value,
// and commands no terminal that it is shown on.
func escaped(text string) string {
	if strings.IndexFunc(text, hidden) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !hidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			_, _ = fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}

// result writes v with --json, else the words.
func (a *app) result(v any, format string, args ...any) error {
	if a.json {
		return a.emit(v)
	}
	return a.printf(format, args...)
}
