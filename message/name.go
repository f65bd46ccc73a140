package message

import (
	"strings"
	"time"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// NameRecord is a tracker's word that a name belongs to an address. It is
// resolved once and pinned by the reader; a changed record is a warning.
type NameRecord struct {
	Tracker Address
	Name    string
	Address Address
	Time    time.Time
	Signed  *wirev1.Signed
}

// SignName makes a name record. The fields but Signed are taken from r.
func SignName(r NameRecord, key crypto.SigningKey) (*NameRecord, error) {
	s, err := sign(kindName, &wirev1.NameRecord{Tracker: r.Tracker.Bytes(), Name: r.Name, Address: r.Address.Bytes(), Time: millis(r.Time)}, key)
	if err != nil {
		return nil, err
	}
	r.Signed = s
	return &r, nil
}

// OpenName verifies a name record against the tracker's chain. A tracker that
// has changed its keys signs its records anew. Errors: Invalid, TooLarge,
// BadSignature, Denied (a closed tracker).
func OpenName(v crypto.Verifier, tracker *Chain, s *wirev1.Signed) (*NameRecord, error) {
	var w wirev1.NameRecord
	p, err := parse(kindName, s, MaxName, &w)
	if err != nil {
		return nil, err
	}
	if err := checkTimes("name", w.GetTime()); err != nil {
		return nil, err
	}
	r := &NameRecord{Name: w.GetName(), Time: fromMillis(w.GetTime()), Signed: s}
	if r.Tracker, err = AddressFromBytes(w.GetTracker()); err != nil {
		return nil, err
	}
	if r.Tracker != tracker.Address() || tracker.Head().Role != RoleTracker {
		return nil, refuse(Invalid, "name: by another tracker, or by what is none")
	}
	if r.Address, err = AddressFromBytes(w.GetAddress()); err != nil {
		return nil, err
	}
	if err := CheckUserName(r.Name); err != nil {
		return nil, err
	}
	if err := tracker.current(kindName, p.key); err != nil {
		return nil, err
	}
	if err := p.verify(v); err != nil {
		return nil, err
	}
	return r, nil
}

// nameEdge is what names begin and end with, and nameMiddle what else they hold.
const (
	nameEdge   = "abcdefghijklmnopqrstuvwxyz0123456789"
	nameMiddle = nameEdge + ".-_"
)

// CheckUserName refuses, with Invalid, a name that a tracker may not give:
// 1 to 32 of a-z, 0-9, dot, hyphen, underscore, beginning and ending with a
// letter or digit. ASCII only, so that no two names look alike; nothing that
// begins with ad1, so that no name looks like an address.
func CheckUserName(name string) error {
	switch {
	case len(name) < 1 || len(name) > 32:
		return refuse(Invalid, "name %q: 1 to 32 characters", clip(name))
	case !onlyOf(name, nameMiddle):
		return refuse(Invalid, "name %q: a-z, 0-9, dot, hyphen and underscore only", clip(name))
	case !edged(name):
		return refuse(Invalid, "name %q begins and ends with a letter or digit", clip(name))
	case LooksLikeAddress(name):
		return refuse(Invalid, "name %q looks like an address", clip(name))
	}
	return nil
}

// CheckPostName refuses, with Invalid, a name that a public message may not
// have: 1 to 64 characters, parts of the characters of a user name with slashes
// between, each part beginning and ending with a letter or digit (so that no
// part is a dot or two), and the whole not of the form of a message id.
func CheckPostName(name string) error {
	if len(name) < 1 || len(name) > 64 || !onlyOf(name, nameMiddle+"/") {
		return refuse(Invalid, "name %q: 1 to 64 of a-z, 0-9, dot, hyphen, underscore and slash", clip(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if !edged(part) {
			return refuse(Invalid, "name %q: each part begins and ends with a letter or digit", clip(name))
		}
	}
	if looksLikeMID(name) {
		return refuse(Invalid, "name %q looks like a message id", clip(name))
	}
	return nil
}

// edged reports whether s begins and ends with a letter or digit.
func edged(s string) bool {
	return s != "" && onlyOf(s[:1], nameEdge) && onlyOf(s[len(s)-1:], nameEdge)
}

// onlyOf reports whether s consists of characters of set.
func onlyOf(s, set string) bool {
	for i := range len(s) {
		if !strings.Contains(set, s[i:i+1]) {
			return false
		}
	}
	return true
}
