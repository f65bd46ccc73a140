package main

import (
	"errors"
	"regexp"
	"strings"

	"airdispatch/message"
)

// adviceByCause is what to do where the code alone does not say it. What stands
// behind a code is only text by the time it comes here, since nobody below has
// to decide by it.
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
		{said && errors.Is(err, message.Denied),
			"where a server allows nothing but reading, its operator has suspended the account: ask them"},
		{strings.Contains(text, "file is not a database") || strings.Contains(text, "malformed"),
			"home.sqlite is damaged: move it away and `adctl register` again; the keys lie beside it, and the server still has the mail"},
	} {
		if c.holds {
			return c.what
		}
	}
	return ""
}

// plain is an error as a person wants to read it: which host, and what about it,
// without the names of calls and without saying the same twice.
func plain(text string) string {
	for _, c := range [][2]string{
		{`rpc: (?:/airdispatch\.v1\.\w+/\w+ at |(?:GET|HEAD|PUT|POST) )ad1\w+: `, ""},
		{`unavailable; try again later: unavailable: `, "unavailable; try again later: "},
		{`unavailable; try again later: dial tcp (\S+): (?:connect: )?`, "$1 cannot be reached: "},
		{`(?:client: )?mail server (https://\S+): (?:rpc: [^:]+: )?\S+ cannot be reached: `, "the mail server $1 cannot be reached: "},
	} {
		text = regexp.MustCompile(c[0]).ReplaceAllString(text, c[1])
	}
	return text
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
