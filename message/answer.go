package message

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Query is one question to a directory: an address, or a name, or with neither
// the answerer itself.
type Query struct {
	Address Address
	Name    string
	// Host is the host part of name@host; it only helps a mail server to find
	// the tracker that gives the name.
	Host string
}

// Self reports whether the query asks for the answerer.
func (q Query) Self() bool { return q.Address.IsZero() && q.Name == "" }

// OpenQuery reads a query. Errors: Invalid.
func OpenQuery(w *wirev1.Query) (Query, error) {
	q := Query{Name: w.GetName(), Host: w.GetHost()}
	if len(w.GetAddress()) != 0 {
		a, err := AddressFromBytes(w.GetAddress())
		if err != nil {
			return Query{}, err
		}
		q.Address = a
	}
	if q.Name != "" {
		if !q.Address.IsZero() {
			return Query{}, refuse(Invalid, "query: an address and a name")
		}
		if err := CheckUserName(q.Name); err != nil {
			return Query{}, err
		}
	}
	if len(q.Host) > 300 {
		return Query{}, refuse(Invalid, "query: host of %d bytes", len(q.Host))
	}
	return q, nil
}

// Wire is the query to send.
func (q Query) Wire() *wirev1.Query {
	w := &wirev1.Query{Name: q.Name, Host: q.Host}
	if !q.Address.IsZero() {
		w.Address = q.Address.Bytes()
	}
	return w
}

// Answer is a verified answer: the tracker said this at this time, and what it
// handed over was verified by itself. Nothing in it is believed because the
// tracker said so, except that something was not found, and first-seen times.
type Answer struct {
	Tracker Address
	Time    time.Time
	Query   Query
	Found   bool
	// Subject is nil where nothing was found.
	Subject *Identity
	Servers map[Address]*Identity
	// Stale: the route has expired; it may still be tried.
	Stale  bool
	Name   *NameRecord
	Signed *wirev1.Signed
}

// SignAnswer makes an answer. Subject, Servers and Name of a go in as they were
// received; Signed is filled in.
func SignAnswer(a Answer, key crypto.SigningKey) (*wirev1.Signed, error) {
	w := &wirev1.Answer{Tracker: a.Tracker.Bytes(), Time: millis(a.Time), Name: a.Query.Name, Found: a.Found, Stale: a.Stale}
	if !a.Query.Address.IsZero() {
		w.Address = a.Query.Address.Bytes()
	}
	if a.Subject != nil {
		w.Subject = a.Subject.Wire()
	}
	for _, server := range slices.SortedFunc(maps.Keys(a.Servers), Address.Compare) {
		w.Servers = append(w.Servers, a.Servers[server].Wire())
	}
	if a.Name != nil {
		w.NameRecord = a.Name.Signed
	}
	return sign(kindAnswer, w, key)
}

// OpenAnswer verifies an answer to q by the tracker of this chain, in the order
// of docs/protocol.md §6.4. Errors:
// Invalid, TooLarge, BadSignature, Denied (a closed tracker), Clock (ahead),
// Expired (older than AnswerLife).
func OpenAnswer(v crypto.Verifier, tracker *Chain, s *wirev1.Signed, q Query, now time.Time) (*Answer, error) {
	a, w, p, err := parseAnswer(s, q, now, tracker.Head().Signers...)
	if err != nil {
		return nil, err
	}
	if a.Tracker != tracker.Address() || tracker.Head().Role == RoleUser {
		return nil, refuse(Invalid, "answer: by another tracker, or by what is none")
	}
	if err := tracker.current(kindAnswer, p.key); err != nil {
		return nil, err
	}
	checks := []crypto.Check{p.check}
	if a.Found {
		var subject []crypto.Check
		if a.Subject, subject, err = readIdentity(w.GetSubject(), nil); err != nil {
			return nil, err
		}
		checks = append(checks, subject...)
	}
	if err := a.bring(v, w, q, tracker, checks); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenSelfAnswer verifies the answer of a server or tracker about itself, when
// nothing is known of it but, where want is not zero, its address. Everything
// that it says hangs on the chain that it hands over; the caller compares the
// pin of its route with the connection. Errors: as of OpenAnswer; BadSignature
// also where it is another server than the one wanted.
func OpenSelfAnswer(v crypto.Verifier, want Address, s *wirev1.Signed, now time.Time) (*Answer, error) {
	a, w, p, err := parseAnswer(s, Query{}, now)
	if err != nil {
		return nil, err
	}
	if !want.IsZero() && a.Tracker != want {
		return nil, refuse(BadSignature, "answer: the server is %s, not %s", a.Tracker, want)
	}
	var checks []crypto.Check
	if a.Subject, checks, err = readIdentity(w.GetSubject(), nil); err != nil {
		return nil, err
	}
	if a.Subject.Address() != a.Tracker || a.Subject.Chain.Head().Role == RoleUser {
		return nil, refuse(Invalid, "answer: not by a server or tracker about itself")
	}
	if err := a.Subject.Chain.current(kindAnswer, p.key); err != nil {
		return nil, err
	}
	if err := a.bring(v, w, Query{}, a.Subject.Chain, append(checks, p.check)); err != nil {
		return nil, err
	}
	return a, nil
}

// AnswerTracker reads which tracker an answer claims to come from, without
// believing it, so that the caller can find the chain to verify with.
func AnswerTracker(s *wirev1.Signed) (Address, error) {
	var w wirev1.Answer
	if _, err := parse(kindAnswer, s, MaxAnswer, &w); err != nil {
		return Address{}, err
	}
	return AddressFromBytes(w.GetTracker())
}

// parseAnswer reads an answer and checks all that costs no signature: its
// shape, its time, and that it is about this question. Keys in known were read
// before.
func parseAnswer(s *wirev1.Signed, q Query, now time.Time, known ...crypto.VerifyKey) (*Answer, *wirev1.Answer, parsed, error) {
	var w wirev1.Answer
	if b := s.GetBody(); len(b) <= MaxAnswer && crowded(b) {
		return nil, nil, parsed{}, refuse(TooLarge, "answer: too many fields")
	}
	p, err := parse(kindAnswer, s, MaxAnswer, &w, known...)
	if err != nil {
		return nil, nil, p, err
	}
	if err := checkTimes("answer", w.GetTime()); err != nil {
		return nil, nil, p, err
	}
	a := &Answer{Time: fromMillis(w.GetTime()), Found: w.GetFound(), Stale: w.GetStale(), Signed: s}
	if a.Tracker, err = AddressFromBytes(w.GetTracker()); err != nil {
		return nil, nil, p, err
	}
	if a.Query, err = OpenQuery(&wirev1.Query{Address: w.GetAddress(), Name: w.GetName()}); err != nil {
		return nil, nil, p, err
	}
	switch {
	case a.Query.Address != q.Address || a.Query.Name != q.Name:
		return nil, nil, p, refuse(Invalid, "answer: to another question")
	case a.Found != (w.GetSubject() != nil):
		return nil, nil, p, refuse(Invalid, "answer: found and subject disagree")
	case !a.Found && q.Self():
		return nil, nil, p, refuse(Invalid, "answer: does not know itself")
	case len(w.GetServers()) > MaxServices:
		return nil, nil, p, refuse(Invalid, "answer: %d servers", len(w.GetServers()))
	case now.Sub(a.Time) > AnswerLife:
		return nil, nil, p, refuse(Expired, "answer: %s old", now.Sub(a.Time).Round(time.Second))
	}
	return a, &w, p, NotAhead(a.Time, now)
}

// bring checks that the subject of an answer is the one that was asked for,
// reads what came with it, and then verifies all the signatures of an answer,
// those of checks among them, in one batch: half the price of one by one.
func (a *Answer) bring(v crypto.Verifier, w *wirev1.Answer, q Query, tracker *Chain, checks []crypto.Check) error {
	if a.Subject == nil {
		return verifyAll(v, checks)
	}
	if !q.Address.IsZero() && a.Subject.Address() != q.Address {
		return refuse(BadSignature, "answer: the cards do not hash to the address")
	}
	if q.Self() && a.Subject.Address() != a.Tracker {
		return refuse(BadSignature, "answer: about somebody else than the answerer")
	}
	if q.Name != "" {
		record, err := OpenName(v, tracker, w.GetNameRecord())
		if err != nil {
			return err
		}
		if record.Name != q.Name || record.Address != a.Subject.Address() {
			return refuse(Invalid, "answer: the name record says otherwise")
		}
		a.Name = record
	}
	a.Servers = make(map[Address]*Identity)
	for _, ws := range w.GetServers() {
		s, more, err := readIdentity(ws, nil)
		if err != nil {
			return err
		}
		a.Servers[s.Address()] = s
		checks = append(checks, more...)
	}
	return verifyAll(v, checks)
}

// What an answer may hold at most, counted in fields, repeated and unknown
// ones alike: an empty field of two bytes would otherwise become an object of
// a hundred.
const (
	maxAnswerFields   = 64
	maxIdentityFields = 3 * MaxChain
)

// crowded reports whether the bytes of an answer have too many fields, or one
// of them, read as a message, more than an identity has.
func crowded(b []byte) bool {
	if fields(b, maxAnswerFields) > maxAnswerFields {
		return true
	}
	for len(b) > 0 {
		_, typ, tag := protowire.ConsumeTag(b)
		_, _, n := protowire.ConsumeField(b)
		if tag < 0 || n < 0 {
			return false // not protobuf, as the parser will say
		}
		if typ == protowire.BytesType {
			if inner, _ := protowire.ConsumeBytes(b[tag:n]); fields(inner, maxIdentityFields) > maxIdentityFields {
				return true
			}
		}
		b = b[n:]
	}
	return false
}
