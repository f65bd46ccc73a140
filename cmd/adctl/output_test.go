package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestJSONShowsWhatHides: what could deceive a terminal is a number in JSON, and the same value to
// whoever reads it.
func TestJSONShowsWhatHides(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ö and <html> \U0001F600": "\"plain, ö and <html> \U0001F600\"\n",
		"csi \u009b2J":                   `"csi \u009b2J"` + "\n",
		"turned \u202egnp.exe":           `"turned \u202egnp.exe"` + "\n",
		"tag \U000E0041":                 `"tag \udb40\udc41"` + "\n",
		"line\n\x1b[2J":                  `"line\n\u001b[2J"` + "\n",
	} {
		var out bytes.Buffer
		a := &app{std: std{out: &out}}
		if err := a.emit(text); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%q: %s want %s", text, out.String(), want)
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != text {
			t.Errorf("%q came back as %q, %v", text, back, err)
		}
	}
}
