package message

import (
	"net/url"
	"strings"
)

// Reference is where a server or tracker is, and with an address also who it
// is: https://host[:port][#address].
type Reference struct {
	// URL is https://host[:port].
	URL string
	// Address is zero where only WebPKI decides.
	Address Address
}

// ParseReference reads https://host[:port][#address]. Scheme and host may be in
// any case and are kept in lower case.
func ParseReference(s string) (Reference, error) {
	rest, fragment, pinned := strings.Cut(strings.TrimSpace(s), "#")
	rest = strings.ToLower(strings.TrimSuffix(rest, "/"))
	if err := CheckHostURL(rest); err != nil {
		return Reference{}, err
	}
	r := Reference{URL: rest}
	if pinned {
		a, err := ParseAddress(fragment)
		if err != nil {
			return Reference{}, err
		}
		r.Address = a
	}
	return r, nil
}

// String is the text form.
func (r Reference) String() string {
	if r.Address.IsZero() {
		return r.URL
	}
	return r.URL + "#" + r.Address.String()
}

// Target is what a person may write where an address or a message is meant
// (docs/protocol.md §4.3).
// Exactly one of Address and UserName is set.
//
//	ad1…                  an address
//	ad1…@@host[:port]     an address, asked of one server directly
//	name@tracker-host     a name that a tracker gives
//	ad1…::name            a named public message
//	ad1…::<32 hex>        a message by its id
//	airdispatch:ad1…[::…][?tracker=REF]   any of these as a link
//
// All of it but the query of a link may be in upper case, for QR codes; parts
// are kept in lower case. Within an address the case is not mixed.
type Target struct {
	Address  Address
	UserName string
	// Host of name@host or address@@host.
	Host string
	// MID, or PostName, where a message is meant.
	MID      MID
	PostName string
	// Trackers of a link.
	Trackers []Reference
}

// maxTarget bounds what somebody may paste: a link with a few trackers.
const maxTarget = 2000

// linkScheme begins a link.
const linkScheme = "airdispatch:"

// ParseTarget reads a target. Errors: Invalid; what begins with ad1 is read as
// an address and nothing else, so a typing error never turns it into a name.
func ParseTarget(s string) (Target, error) {
	var t Target
	if len(s) > maxTarget {
		return Target{}, refuse(Invalid, "reference of %d characters", len(s))
	}
	if len(s) >= len(linkScheme) && strings.EqualFold(s[:len(linkScheme)], linkScheme) {
		rest, query, _ := strings.Cut(s[len(linkScheme):], "?")
		if err := t.parseQuery(query); err != nil {
			return Target{}, err
		}
		s = rest
	}
	who, which, isMessage := strings.Cut(s, "::")
	// An IPv6 host in name@[2001:db8::1] holds two colons of its own.
	if strings.Contains(s, "@") {
		who, isMessage = s, false
	}
	if err := t.parseWho(who); err != nil {
		return Target{}, err
	}
	if isMessage {
		if err := t.parseWhich(which); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

// parseQuery reads the trackers of a link; what else stands there is for newer
// programs.
func (t *Target) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return refuse(Invalid, "link: query %q", clip(query))
	}
	for _, text := range values["tracker"] {
		r, err := ParseReference(text)
		if err != nil {
			return err
		}
		t.Trackers = append(t.Trackers, r)
	}
	return nil
}

// parseWho reads address, address@@host or name@host.
func (t *Target) parseWho(s string) (err error) {
	name, host, hasHost := strings.Cut(s, "@")
	if LooksLikeAddress(name) {
		if t.Address, err = ParseAddress(name); err != nil || !hasHost {
			return err
		}
		if !strings.HasPrefix(host, "@") {
			return refuse(Invalid, "reference %q: an address takes @@host, not @host", clip(s))
		}
		t.Host = strings.ToLower(host[1:])
		return checkHost(t.Host)
	}
	if !hasHost {
		return refuse(Invalid, "reference %q: neither an address (ad1…) nor name@host", clip(s))
	}
	t.UserName, t.Host = strings.ToLower(name), strings.ToLower(host)
	if err := CheckUserName(t.UserName); err != nil {
		return err
	}
	return checkHost(t.Host)
}

// parseWhich reads a message id or the name of a public message.
func (t *Target) parseWhich(s string) (err error) {
	if looksLikeMID(s) {
		t.MID, err = ParseMID(s)
		return err
	}
	t.PostName = strings.ToLower(s)
	return CheckPostName(t.PostName)
}

// String is the shortest text that ParseTarget reads as t, without trackers.
func (t Target) String() string {
	var b strings.Builder
	switch {
	case t.UserName != "":
		b.WriteString(t.UserName + "@" + t.Host)
		return b.String()
	case t.Host != "":
		b.WriteString(t.Address.String() + "@@" + t.Host)
		return b.String()
	}
	b.WriteString(t.Address.String())
	switch {
	case t.PostName != "":
		b.WriteString("::" + t.PostName)
	case !t.MID.IsZero():
		b.WriteString("::" + t.MID.String())
	}
	return b.String()
}

// Link is the airdispatch: form of t.
func (t Target) Link() string {
	values := url.Values{}
	for _, r := range t.Trackers {
		values.Add("tracker", r.String())
	}
	link := linkScheme + t.String()
	if len(values) != 0 {
		link += "?" + values.Encode()
	}
	return link
}
