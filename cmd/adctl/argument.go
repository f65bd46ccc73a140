package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/message"
)

// argument makes an error about something that a person typed a usage error
// where it cannot be right; what is merely not there stays what it is.
func argument(err error) error {
	if errors.Is(err, message.Invalid) && !isRefusal(err) {
		return daemon.Usage("%w", err)
	}
	return err
}

// isRefusal reports whether a peer said it.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*message.Refused](err)
	return ok
}

// allowArguments opens the private ranges of hosts and trackers that the person
// wrote into arguments: in name@host, address@@host and links.
func (a *app) allowArguments(cmd *cobra.Command) {
	texts := cmd.Flags().Args()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			texts = append(texts, list.GetSlice()...)
		}
	})
	for _, text := range texts {
		t, err := message.ParseTarget(text)
		if err != nil {
			continue
		}
		a.allow(t.Trackers...)
		if t.Host != "" {
			a.allow(message.Reference{URL: "https://" + t.Host})
		}
	}
}

// maxListed is the largest --limit; nobody reads so many, and no sum overflows.
const maxListed = 1_000_000

// limit is a flag that says how many to list; 0 is all.
type limit int

// bindLimit adds --limit.
func bindLimit(flags *pflag.FlagSet, n *int) {
	flags.Var((*limit)(n), "limit", "list the newest `N`; 0 is all")
}

// String is the number.
func (l *limit) String() string { return strconv.Itoa(int(*l)) }

// Type is the word that stands for the value in a usage line.
func (l *limit) Type() string { return "N" }

// Set reads it.
func (l *limit) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n > maxListed {
		return fmt.Errorf("write a whole number from 0, which is all, to %d", maxListed)
	}
	*l = limit(n)
	return nil
}

// flagFault is a usage error about a flag, without the names of functions that
// have read its value.
func flagFault(err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return daemon.Usage("%w", err)
	}
	if bad.GetFlag().Value.Type() == "bool" {
		return daemon.Usage("--%s %q: write true or false", bad.GetFlag().Name, bad.GetValue())
	}
	return daemon.Usage("--%s %q: %w", bad.GetFlag().Name, bad.GetValue(), bad.Unwrap())
}

// units are what a duration may be counted in, beside those of Go.
var units = map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// maxLife bounds how far away the end of a message may lie.
const maxLife = 100 * 366 * 24 * time.Hour

// parseExpiry reads when a message ends: 7d, 2w, 36h, 1h30m, or a time like
// 2027-01-31T12:00:00Z or 2027-01-31.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return checkExpiry(text, t.UTC(), now)
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		number := strings.TrimRight(text, "dw")
		n, numberErr := strconv.ParseUint(number, 10, 16)
		unit, known := units[strings.TrimPrefix(text, number)]
		if numberErr != nil || !known {
			return time.Time{}, daemon.Usage("--expires %q: write 36h, 7d, 2w or a time like 2027-01-31T12:00:00Z", text)
		}
		// A product that does not fit would come out small.
		d = maxLife + 1
		if n <= uint64(maxLife/unit) {
			d = time.Duration(n) * unit
		}
	}
	if d > maxLife {
		return time.Time{}, daemon.Usage("--expires %q: that is too far away", text)
	}
	return checkExpiry(text, now.Add(d), now)
}

func checkExpiry(text string, t, now time.Time) (time.Time, error) {
	if !t.After(now) || t.Sub(now) > maxLife {
		return time.Time{}, daemon.Usage("--expires %q: it lies in the past, or too far away", text)
	}
	return t, nil
}

// parseComponent reads type=@file or type=text.
func parseComponent(text string) (message.Component, error) {
	typ, value, ok := strings.Cut(text, "=")
	if !ok || typ == "" {
		return message.Component{}, daemon.Usage("--component %q: write type=@file, or type=text", text)
	}
	if strings.HasPrefix(typ, "airdispatch/") {
		return message.Component{}, daemon.Usage("--component %q: airdispatch/… are the parts that adctl writes itself", text)
	}
	c := message.Component{Type: typ, Data: []byte(value)}
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		b, err := readBounded(path)
		if err != nil {
			return c, daemon.Usage("--component: %w", err)
		}
		c.Data = b
	}
	if _, err := message.MarshalContent(&message.Content{Components: []message.Component{c}}); err != nil {
		return c, daemon.Usage("--component: %w", err)
	}
	return c, nil
}

// maxText bounds a body: what a reader still fetches along with its message.
const maxText = 32 << 20

// readBounded reads a file that becomes part of a message.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxText {
		return nil, fmt.Errorf("%s has more than %d bytes; attach it instead: %w", path, maxText, message.TooLarge)
	}
	return b, nil
}

// body reads a message's body from the file that an argument names, or from
// standard input for - or no argument.
func (a *app) body(args []string) (string, error) {
	if len(args) != 0 && args[0] != "-" {
		b, err := readBounded(args[0])
		if err != nil {
			return "", daemon.Usage("%w", err)
		}
		return text(b)
	}
	if isTerminal(a.in) {
		a.sayf("Write the message; Ctrl-D on a line of its own ends it, Ctrl-C throws it away.")
	}
	b, err := io.ReadAll(io.LimitReader(a.in, maxText+1))
	if err != nil {
		return "", fmt.Errorf("read the message: %w", err)
	}
	if len(b) > maxText {
		return "", fmt.Errorf("the message has more than %d bytes; attach it instead: %w", maxText, message.TooLarge)
	}
	return text(b)
}

// text is a body that was read. What is not UTF-8 would reach nobody as it is.
func text(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", daemon.Usage("the message is not text in UTF-8; attach it instead")
	}
	return string(b), nil
}

// references reads references, each once.
func parseReferences(flag string, texts []string) ([]message.Reference, error) {
	var refs []message.Reference
	for _, text := range texts {
		ref, err := message.ParseReference(text)
		if err != nil {
			return nil, daemon.Usage("%s: %w", flag, err)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
