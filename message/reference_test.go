package message

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"airdispatch/crypto"
)

const (
	annText = "ad1q5aex0n3yj8gn6qutg59apj6h4l3p9f9gm5gerfq66xsxv3"
	midText = "0123456789abcdef0123456789abcdef"
)

func TestAddresses(t *testing.T) {
	a := must(ParseAddress(annText))(t)
	vec(t, "addresses/parse_address", "lower case", inputs{Text: annText}, 0)
	vec(t, "addresses/parse_address", "upper case", inputs{Text: strings.ToUpper(annText)}, 0)
	vec(t, "addresses/address_from_bytes", "bytes", inputs{Bytes: a.Bytes()}, 0)
	if a.String() != annText || len(annText) != 50 || a.Short() != annText[:12] || must(ParseAddress(strings.ToUpper(annText)))(t) != a {
		t.Errorf("got %s, %s", a, a.Short())
	}
	if must(AddressFromBytes(a.Bytes()))(t) != a || len(a.Bytes()) != AddressSize {
		t.Error("the wire form is another address")
	}
	var back Address
	if b, err := a.MarshalText(); err != nil || back.UnmarshalText(b) != nil || back != a {
		t.Error("the text form is another address")
	}
	if b, err := (Address{}).MarshalText(); err != nil || len(b) != 0 || back.UnmarshalText(nil) != nil || !back.IsZero() {
		t.Error("no address has a text form")
	}
	if a.Compare(Address{}) <= 0 || (Address{}).Compare(a) >= 0 || a.Compare(a) != 0 {
		t.Error("order")
	}
	mixed := "AD1" + annText[3:]
	for _, s := range []string{
		"", "ad1", "ad1q", mixed, annText[:49], annText + "q", "bc1" + annText[3:], annText[:20] + "1" + annText[21:], " " + annText,
		Address{}.String(), "ad1p" + annText[4:], "ad1" + annText[4:], strings.Replace(annText, "q5", "5q", 1),
	} {
		vec(t, "addresses/parse_address", s, inputs{Text: s}, Invalid)
		if _, err := ParseAddress(s); CodeOf(err) != Invalid || err == nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	// A typing error is named with its place.
	_, err := ParseAddress(annText[:10] + "q" + annText[11:])
	if typing, ok := errors.AsType[*crypto.TypingError](err); !ok || len(typing.Positions) != 1 || typing.Positions[0] != 11 {
		t.Errorf("got %v", err)
	}
	for _, b := range [][]byte{nil, make([]byte, AddressSize), append([]byte{1}, a[:]...), a[:], append(a.Bytes(), 0)} {
		vec(t, "addresses/address_from_bytes", hex.EncodeToString(b), inputs{Bytes: b}, Invalid)
		_, err := AddressFromBytes(b)
		refused(t, err, Invalid)
	}
	// Text of a version that does not exist, and with 24 bytes, checksum right.
	for _, symbols := range [][]byte{append([]byte{1}, crypto.ToSymbols(a[:])...), append([]byte{0}, crypto.ToSymbols(a[:24])...), append([]byte{0}, crypto.ToSymbols(append(a[:], 1))...)} {
		s := must(crypto.EncodeBech32m("ad", symbols))(t)
		vec(t, "addresses/parse_address", s, inputs{Text: s}, Invalid)
		_, err := ParseAddress(s)
		refused(t, err, Invalid)
	}
}

func TestIDs(t *testing.T) {
	id := must(IDFromBytes([]byte(strings.Repeat("x", 32))))(t)
	if id.IsZero() || id.String() != strings.Repeat("78", 32) {
		t.Errorf("got %s", id)
	}
	_, err := IDFromBytes(make([]byte, 31))
	refused(t, err, Invalid)
	m := must(ParseMID(strings.ToUpper(midText)))(t)
	if m.String() != midText || must(MIDFromBytes(m.Bytes()))(t) != m {
		t.Errorf("got %s", m)
	}
	vec(t, "names/parse_mid", "mid", inputs{Text: midText}, 0)
	vec(t, "names/parse_mid", "mid in upper case", inputs{Text: strings.ToUpper(midText)}, 0)
	for _, name := range []string{"profile", "2026/hello.md", "a"} {
		vec(t, "names/named_mid", "mid of "+name, inputs{Name: name}, 0)
	}
	for _, s := range []string{"", midText[1:], midText + "0", "g" + midText[1:], strings.Repeat("0", 32), strings.Repeat("x", 200)} {
		vec(t, "names/parse_mid", "mid: "+s, inputs{Text: s}, Invalid)
		_, err := ParseMID(s)
		refused(t, err, Invalid)
	}
	one, two := must(NewMID(testTime(), from("mid")))(t), must(NewMID(testTime().Add(1e6), from("mid")))(t)
	if one.String() >= two.String() || one.String()[12:] != two.String()[12:] {
		t.Errorf("%s is not before %s", one, two)
	}
	if _, err := NewMID(testTime(), strings.NewReader("short")); err == nil {
		t.Error("a mid without randomness")
	}
	if _, err := NewMID(testTime(), nil); err == nil {
		t.Error("a mid without a source of randomness")
	}
	if r := (Ref{From: must(ParseAddress(annText))(t), MID: m}); r.String() != annText+"::"+midText {
		t.Errorf("got %s", r)
	}
}

func TestParseTarget(t *testing.T) {
	ann := must(ParseAddress(annText))(t)
	mid := must(ParseMID(midText))(t)
	up := strings.ToUpper
	for s, want := range map[string]Target{
		annText:                                 {Address: ann},
		up(annText):                             {Address: ann},
		annText + "@@mail.example":              {Address: ann, Host: "mail.example"},
		annText + "@@mail.example:8443":         {Address: ann, Host: "mail.example:8443"},
		annText + "@@[2001:db8::1]:8443":        {Address: ann, Host: "[2001:db8::1]:8443"},
		annText + "@@[::1]":                     {Address: ann, Host: "[::1]"},
		annText + "@@127.0.0.1:1":               {Address: ann, Host: "127.0.0.1:1"},
		"ann@tracker.example":                   {UserName: "ann", Host: "tracker.example"},
		"Ann@Tracker.Example:443":               {UserName: "ann", Host: "tracker.example:443"},
		"a.b-c_d@localhost":                     {UserName: "a.b-c_d", Host: "localhost"},
		"ann@[2001:DB8::1]":                     {UserName: "ann", Host: "[2001:db8::1]"},
		annText + "::profile":                   {Address: ann, PostName: "profile"},
		annText + "::2026/hello.md":             {Address: ann, PostName: "2026/hello.md"},
		annText + "::" + midText:                {Address: ann, MID: mid},
		annText + "::" + up(midText):            {Address: ann, MID: mid},
		"airdispatch:" + annText:                {Address: ann},
		"AIRDISPATCH:" + up(annText+"::hello"):  {Address: ann, PostName: "hello"},
		"airdispatch:ann@tracker.example":       {UserName: "ann", Host: "tracker.example"},
		"airdispatch:" + annText + "?":          {Address: ann},
		"airdispatch:" + annText + "?later=yes": {Address: ann},
	} {
		vec(t, "references/parse_target", s, inputs{Text: s}, 0)
		got, err := ParseTarget(s)
		if err != nil || got.Address != want.Address || got.Host != want.Host || got.UserName != want.UserName || got.PostName != want.PostName || got.MID != want.MID {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, text := range []string{
		annText, annText + "::profile", annText + "::" + midText, "ann@tracker.example", annText + "@@[::1]:1",
	} {
		if got := must(ParseTarget(text))(t); got.String() != text || got.Link() != "airdispatch:"+text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
	for _, link := range []string{
		"airdispatch:" + annText + "?tracker=https://t.example&tracker=https%3A%2F%2F%5B%3A%3A1%5D%3A444%23" + annText,
		"airdispatch:" + annText + "?tracker=https://t.example&x=y&tracker=https://[::1]:444#" + annText,
	} {
		vec(t, "references/parse_target", link, inputs{Text: link}, 0)
		got := must(ParseTarget(link))(t)
		if len(got.Trackers) != 2 || got.Trackers[0].String() != "https://t.example" || got.Trackers[1].Address != ann || got.Trackers[1].URL != "https://[::1]:444" {
			t.Errorf("%q: %+v", link, got)
		}
		if again := must(ParseTarget(got.Link()))(t); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("%q came back as %+v", got.Link(), again)
		}
	}
}

func TestParseTargetRefusals(t *testing.T) {
	for _, s := range []string{
		"", " ", "ann", "ann@", "@host", "@@host", "ann@@host", "ann@host@host", "an n@host", "änn@host", "ann@hö.st", "ann@host/path", "ann@host?x",
		"-ann@host", "ann-@host", ".@host", strings.Repeat("a", 33) + "@host", "ann@host:", "ann@host:0", "ann@host:65536", "ann@host:080", "ann@host:https",
		"ann@2001:db8::1", "ann@[2001:db8::1", "ann@[fe80::1%eth0]", "ann@[127.0.0.1]", "ann@[::1]8443", "ann@[]", "ann@127.1", "ann@0x7f000001", "ann@1.2.3.4.5", "ann@a..b", "ann@.a", "ann@a.",
		"ann@-a.b", "ann@a-.b", "ann@" + strings.Repeat("a", 64), "ann@" + strings.Repeat("a.", 127) + "a", "ann@256.1.1.1",
		annText + "@host", annText + "@@", annText + "@@host@@host", annText + "@@@host", annText + "@@ho st", annText + "@@user@host", annText + "@@https://host",
		annText + "::", annText + ":: ", annText + "::a//b", annText + "::/a", annText + "::a/", annText + "::..", annText + "::a/../b", annText + "::a/./b", annText + "::" + strings.Repeat("a", 65),
		annText + "::a::b", annText + "::" + strings.Repeat("0", 32), annText + "::a@b", annText + "::a?b", annText + "@@host::name", annText + "::ä",
		annText + "?tracker=https://t.example", annText + "x", "ad1x@host", "AD1x@host", "ad1::x",
		"airdispatch:", "airdispatch://" + annText, "airdispatch:" + annText + "?tracker=http://t", "airdispatch:" + annText + "?tracker=https://t/x", "airdispatch:" + annText + "?%zz", "airdispatch:" + annText + "?a;b",
		"http:" + annText, "airdispatch:" + annText + "?tracker=" + strings.Repeat("a", 2000), "ann@host\x00", "ann\n@host", "ann@ho\\st",
	} {
		vec(t, "references/parse_target", "target: "+s, inputs{Text: s}, Invalid)
		got, err := ParseTarget(s)
		refused(t, err, Invalid)
		if got.Address != (Address{}) || got.UserName != "" || got.Host != "" || len(got.Trackers) != 0 {
			t.Errorf("%q: something was returned beside the error: %+v", s, got)
		}
	}
}

func TestParseReference(t *testing.T) {
	for s, want := range map[string]string{
		"https://t.example":                     "https://t.example",
		" https://t.example/\n":                 "https://t.example",
		"HTTPS://T.EXAMPLE:8443":                "https://t.example:8443",
		"https://[::1]:1#" + annText:            "https://[::1]:1#" + annText,
		"https://t#" + strings.ToUpper(annText): "https://t#" + annText,
		"https://my_host":                       "https://my_host",
	} {
		vec(t, "references/parse_reference", "reference: "+s, inputs{Text: s}, 0)
		if got, err := ParseReference(s); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "t.example", "http://t.example", "https://", "https://t.example//", "https://t.example/x", "https://t.example#", "https://t.example#ad1", "https://t.example?x#" + annText,
		"https://u@t.example", "https://u:p@t.example", "https://t.example:", "https://t%2eexample", "https:/t", "ftp://t", "https://t\x00", "https://t#" + annText + "#", "https://" + strings.Repeat("a.", 200) + "a",
	} {
		vec(t, "references/parse_reference", "reference: "+s, inputs{Text: s}, Invalid)
		_, err := ParseReference(s)
		refused(t, err, Invalid)
	}
	for _, s := range []string{"https://t.example/", "HTTPS://t.example", "https://T.example:00443"} {
		if err := CheckHostURL(s); CodeOf(err) != Invalid {
			t.Errorf("%q in a route: %v", s, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string][2]bool{ // may be a user, may be a post
		"a": {true, true}, "ann": {true, true}, "0": {true, true}, "a.b-c_d": {true, true}, "a..b": {true, true}, strings.Repeat("a", 32): {true, false},
		strings.Repeat("g", 32): {true, true}, strings.Repeat("g", 33): {false, true}, strings.Repeat("g", 64): {false, true}, strings.Repeat("g", 65): {false, false},
		"": {false, false}, ".a": {false, false}, "a.": {false, false}, "-": {false, false}, "A": {false, false}, "ä": {false, false}, "a b": {false, false},
		"ad1": {false, true}, "ad1x": {false, true}, "adx": {true, true}, "a/b": {false, true}, "a/b/c": {false, true}, "a//b": {false, false}, "/": {false, false}, "a/.b": {false, false}, "a\x00b": {false, false},
	} {
		code := map[bool]Code{false: Invalid}
		vec(t, "names/check_user_name", "user: "+name, inputs{Name: name}, code[want[0]])
		vec(t, "names/check_post_name", "post: "+name, inputs{Name: name}, code[want[1]])
		if got := CheckUserName(name) == nil; got != want[0] {
			t.Errorf("user %q: %v", name, got)
		}
		if got := CheckPostName(name) == nil; got != want[1] {
			t.Errorf("post %q: %v", name, got)
		}
	}
}

// One parser reads whatever names somebody or something.
func ExampleParseTarget() {
	for _, s := range []string{
		annText,
		annText + "::profile",
		"Ann@Tracker.Example",
		annText + "@@[2001:db8::1]:8443",
		"airdispatch:" + annText + "?tracker=https://t.example",
	} {
		t, err := ParseTarget(s)
		fmt.Println(t.Address.Short(), t.UserName, t.Host, t.PostName, t.Trackers, err)
	}
	// Output:
	// ad1q5aex0n3y    [] <nil>
	// ad1q5aex0n3y   profile [] <nil>
	// ad1qqqqqqqqq ann tracker.example  [] <nil>
	// ad1q5aex0n3y  [2001:db8::1]:8443  [] <nil>
	// ad1q5aex0n3y    [https://t.example] <nil>
}
