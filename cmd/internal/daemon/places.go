package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// sources says where a setting was made, for words about its faults.
type sources struct {
	path    string
	text    []byte
	environ []string
	flags   []string
}

// located is an error with file, line and excerpt.
func located(path string, e *toml.DecodeError, what string) error {
	line, _ := e.Position()
	return fmt.Errorf("%s:%d: %s\n%s", path, line, what, e.String())
}

// decoding names the places of all faults that were found when values were
// put into the settings.
func (s *sources) decoding(err error) error {
	var faults []*mapstructure.DecodeError
	collect(err, &faults)
	if len(faults) == 0 {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	var out []error
	for _, f := range faults {
		key, _, _ := strings.Cut(f.Name(), "[")
		out = append(out, fmt.Errorf("%s: %s: %w", s.place(key), f.Name(), f.Unwrap()))
	}
	return errors.Join(out...)
}

// collect finds the faults in a tree of joined errors.
func collect(err error, into *[]*mapstructure.DecodeError) {
	if f, ok := err.(*mapstructure.DecodeError); ok {
		*into = append(*into, f)
		return
	}
	switch tree := err.(type) {
	case interface{ Unwrap() []error }:
		for _, e := range tree.Unwrap() {
			collect(e, into)
		}
	case interface{ Unwrap() error }:
		collect(tree.Unwrap(), into)
	}
}

// checked names the place of a fault that Check found: such an error begins
// with the setting that it is about.
func (s *sources) checked(err error) error {
	if err == nil {
		return nil
	}
	key, _, _ := strings.Cut(err.Error(), " ")
	return fmt.Errorf("%s: %w", s.place(strings.TrimSuffix(key, ":")), err)
}

// place is where a setting was made: a flag, a variable, or a line; for one
// that was made nowhere, the file.
func (s *sources) place(key string) string {
	if slices.Contains(s.flags, key) {
		return "flags"
	}
	variable := "AD_" + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
	for _, e := range s.environ {
		if name, _, _ := strings.Cut(e, "="); name == variable {
			return variable
		}
	}
	if line := keyLine(s.text, key); line > 0 {
		return fmt.Sprintf("%s:%d", s.path, line)
	}
	return s.path
}

// keyLine is the line of a setting in a file that was read before; 0 for one
// that is not in it.
func keyLine(text []byte, key string) int {
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		name, at := dotted(e)
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = name + "."
		case unstable.KeyValue:
			if table+name == key {
				return bytes.Count(text[:at], []byte("\n")) + 1
			}
		}
	}
	return 0
}

// dotted is the key of an expression and its offset.
func dotted(e *unstable.Node) (string, int) {
	if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && e.Kind != unstable.KeyValue {
		return "", 0
	}
	var parts []string
	at := -1
	for i := e.Key(); i.Next(); {
		if at < 0 {
			at = int(i.Node().Raw.Offset)
		}
		parts = append(parts, string(i.Node().Data))
	}
	return strings.Join(parts, "."), max(at, 0)
}
