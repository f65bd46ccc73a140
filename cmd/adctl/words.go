package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"airdispatch/message"
)

// adviceByCause is what to do where the code alone does not say it. What the
// dialer and the certificate check said stands behind a code as text only, since
// nobody below has to decide by it; TestAdviceOfRealErrors makes those errors as
// they are made and demands the advice.
func adviceByCause(err error) string {
	text := err.Error()
	said := isRefusal(err)
	for _, c := range []struct {
		holds bool
		what  string
	}{
		{!said && errors.Is(err, message.Denied) && strings.Contains(text, "not a public address"),
			"a private network is dialled only where a reference that you give lies there: --tracker REF, or --server REF with `adctl register`"},
		{!said && errors.Is(err, message.BadSignature) && strings.Contains(text, "x509: "),
			"give the whole reference, https://host[:port]#ad1…, as its operator printed it; without #address only the system's certificate authorities are believed"},
		{!said && errors.Is(err, message.NotFound) && strings.Contains(text, "no tracker is known"),
			"name a tracker to ask with --tracker REF, or `adctl register` first"},
		{said && errors.Is(err, message.Denied),
			"where a server allows nothing but reading, its operator has suspended the account: ask them"},
	} {
		if c.holds {
			return c.what
		}
	}
	return ""
}

// shorter are texts of errors, and what a person would rather read: which host,
// and what about it, without the names of calls. TestAdviceOfRealErrors makes them
// as they are made.
var shorter = [][2]string{
	{`rpc: (?:/airdispatch\.v1\.\w+/\w+ at |(?:GET|HEAD|PUT|POST) )ad1\w+: `, ""},
	{`not allowed: (?:unavailable: )?dial tcp (\S+): (?:rpc: )?dial \S+: not a public address: not allowed`, "$1 is not a public address"},
	{`not allowed: (?:unavailable: )?dial tcp \S+: (?:rpc: )?(?:dial \S+: )?(port \d+ is neither 443 nor above 1023): not allowed`, "$1"},
	{`unavailable; try again later: unavailable: `, "unavailable; try again later: "},
	{`unavailable; try again later: dial tcp (\S+): (?:connect: )?`, "$1 cannot be reached: "},
	{`(?:client: )?mail server (https://\S+): (?:rpc: [^:]+: )?\S+ cannot be reached: `, "the mail server $1 cannot be reached: "},
	{`a signature does not verify: (?:unavailable: )?tls: failed to verify certificate: x509: `, "its certificate is not believed: "},
}

// rooms are the names that errors begin with, each where it was made. The first
// says where it began; the others say nothing to a person.
var rooms = []string{"client", "rpc", "tracker", "message", "home", "keyfile", "crypto", "durable"}

// plain is an error as a person wants to read it: without the names of calls
// and without saying the same twice.
func plain(text string) string {
	for _, c := range shorter {
		text = regexp.MustCompile(c[0]).ReplaceAllString(text, c[1])
	}
	var said []string
	for n, part := range strings.Split(text, ": ") {
		if n > 0 && (slices.Contains(rooms, part) || part == said[len(said)-1]) {
			continue
		}
		said = append(said, part)
	}
	return strings.Join(said, ": ")
}

// reworded is an error in words for a person, in place of those that it came
// with; what it is stays.
type reworded struct {
	error
	words string
}

// Error is the words.
func (e *reworded) Error() string { return e.words }

// Unwrap is the error.
func (e *reworded) Unwrap() error { return e.error }
