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

// OpenName verifies a name record against the tracker's chain.
func OpenName(v crypto.Verifier, tracker *Chain, s *wirev1.Signed) (*NameRecord, error) {
	p, err := parse(kindName, s, MaxName, &wirev1.NameRecord{})
	if err != nil {
		return nil, err
	}
	if !tracker.Head().Lists(p.key) {
		return nil, refuse(BadSignature, "name: not signed by a current key of the tracker")
	}
	return openName(v, s, tracker.Address(), p.key)
}

// openName verifies a name record that must come from tracker and key. An
// answer and the name record in it are signed by one tracker; the record may
// be older than the tracker's present key, in which case it is signed anew.
func openName(v crypto.Verifier, s *wirev1.Signed, tracker Address, key crypto.VerifyKey) (*NameRecord, error) {
	var w wirev1.NameRecord
	p, err := parse(kindName, s, MaxName, &w)
	if err != nil {
		return nil, err
	}
	if p.key != key {
		return nil, refuse(BadSignature, "name: not signed by the tracker's key")
	}
	r := &NameRecord{Name: w.GetName(), Time: fromMillis(w.GetTime()), Signed: s}
	if r.Tracker, err = AddressFromBytes(w.GetTracker()); err != nil {
		return nil, err
	}
	if r.Tracker != tracker {
		return nil, refuse(Invalid, "name: by another tracker")
	}
	if r.Address, err = AddressFromBytes(w.GetAddress()); err != nil {
		return nil, err
	}
	if err := CheckUserName(r.Name); err != nil {
		return nil, err
	}
	return r, p.verify(v)
}

// CheckUserName refuses, with Invalid, a name that a tracker may not give:
// 1 to 32 of a-z, 0-9, dot, hyphen, underscore, beginning and ending with a
// letter or digit. ASCII only, so that no two names look alike; nothing that
// begins with ad1, so that no name looks like an address.
func CheckUserName(name string) error {
	const edge = "abcdefghijklmnopqrstuvwxyz0123456789"
	switch {
	case len(name) < 1 || len(name) > 32:
		return refuse(Invalid, "name %q: 1 to 32 characters", clip(name))
	case !onlyOf(name, edge+".-_"):
		return refuse(Invalid, "name %q: a-z, 0-9, dot, hyphen and underscore only", clip(name))
	case !strings.Contains(edge, name[:1]) || !strings.Contains(edge, name[len(name)-1:]):
		return refuse(Invalid, "name %q begins and ends with a letter or digit", clip(name))
	case LooksLikeAddress(name):
		return refuse(Invalid, "name %q looks like an address", clip(name))
	}
	return nil
}

// CheckPostName refuses, with Invalid, a name that a public message may not
// have: the form of CheckUserName, up to 64 characters and with slashes
// between, and not that of a message id.
func CheckPostName(name string) error {
	const edge = "abcdefghijklmnopqrstuvwxyz0123456789"
	switch {
	case len(name) < 1 || len(name) > 64 || !onlyOf(name, edge+".-_/"):
		return refuse(Invalid, "name %q: 1 to 64 of a-z, 0-9, dot, hyphen, underscore and slash", clip(name))
	case !strings.Contains(edge, name[:1]) || !strings.Contains(edge, name[len(name)-1:]):
		return refuse(Invalid, "name %q begins and ends with a letter or digit", clip(name))
	case looksLikeMID(name):
		return refuse(Invalid, "name %q looks like a message id", clip(name))
	}
	return nil
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
