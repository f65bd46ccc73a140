package message

import (
	"time"

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
	for _, s := range a.Servers {
		w.Servers = append(w.Servers, s.Wire())
	}
	if a.Name != nil {
		w.NameRecord = a.Name.Signed
	}
	return sign(kindAnswer, w, key)
}

// OpenAnswer verifies an answer to q by the tracker of this chain. Errors:
// Invalid, TooLarge, BadSignature, Clock (ahead), Expired (older than
// AnswerLife).
func OpenAnswer(v crypto.Verifier, tracker *Chain, s *wirev1.Signed, q Query, now time.Time) (*Answer, error) {
	a, w, p, err := parseAnswer(v, s)
	if err != nil {
		return nil, err
	}
	if a.Tracker != tracker.Address() {
		return nil, refuse(Invalid, "answer: by another tracker")
	}
	if !tracker.Head().Lists(p.key) {
		return nil, refuse(BadSignature, "answer: not signed by a current key of the tracker")
	}
	return a, a.finish(v, w, p, q, now)
}

// OpenSelfAnswer verifies the answer of a server or tracker about itself, when
// nothing is known of it but, where want is not zero, its address. Everything
// that it says hangs on the chain that it hands over; the caller compares the
// pin of its route with the connection.
func OpenSelfAnswer(v crypto.Verifier, want Address, s *wirev1.Signed, now time.Time) (*Answer, error) {
	a, w, p, err := parseAnswer(v, s)
	if err != nil {
		return nil, err
	}
	if a.Subject == nil || a.Subject.Address() != a.Tracker {
		return nil, refuse(Invalid, "answer: not about the answerer itself")
	}
	if !want.IsZero() && a.Tracker != want {
		return nil, refuse(BadSignature, "answer: the server is %s, not %s", a.Tracker, want)
	}
	if !a.Subject.Chain.Head().Lists(p.key) {
		return nil, refuse(BadSignature, "answer: not signed by a current key of the server")
	}
	return a, a.finish(v, w, p, Query{}, now)
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

// parseAnswer reads an answer and verifies the subject, which proves itself.
func parseAnswer(v crypto.Verifier, s *wirev1.Signed) (*Answer, *wirev1.Answer, parsed, error) {
	var w wirev1.Answer
	p, err := parse(kindAnswer, s, MaxAnswer, &w)
	if err != nil {
		return nil, nil, p, err
	}
	a := &Answer{Time: fromMillis(w.GetTime()), Found: w.GetFound(), Stale: w.GetStale(), Signed: s}
	if a.Tracker, err = AddressFromBytes(w.GetTracker()); err != nil {
		return nil, nil, p, err
	}
	if a.Query, err = OpenQuery(&wirev1.Query{Address: w.GetAddress(), Name: w.GetName()}); err != nil {
		return nil, nil, p, err
	}
	if w.GetSubject() != nil {
		if a.Subject, err = OpenIdentity(v, w.GetSubject(), nil); err != nil {
			return nil, nil, p, err
		}
	}
	if a.Found != (a.Subject != nil) {
		return nil, nil, p, refuse(Invalid, "answer: found and subject disagree")
	}
	return a, &w, p, nil
}

// finish checks the signature, the time, that the answer is to this question,
// and everything that came with the subject.
func (a *Answer) finish(v crypto.Verifier, w *wirev1.Answer, p parsed, q Query, now time.Time) error {
	if err := p.verify(v); err != nil {
		return err
	}
	if a.Query.Address != q.Address || a.Query.Name != q.Name {
		return refuse(Invalid, "answer: to another question")
	}
	if err := NotAhead(a.Time, now); err != nil {
		return err
	}
	if now.Sub(a.Time) > AnswerLife {
		return refuse(Expired, "answer: %s old", now.Sub(a.Time).Round(time.Second))
	}
	if a.Subject == nil {
		return nil
	}
	if !q.Address.IsZero() && a.Subject.Address() != q.Address {
		return refuse(BadSignature, "answer: the cards do not hash to the address")
	}
	if q.Name != "" {
		record, err := openName(v, w.GetNameRecord(), a.Tracker, p.key)
		if err != nil {
			return err
		}
		if record.Name != q.Name || record.Address != a.Subject.Address() {
			return refuse(Invalid, "answer: the name record says otherwise")
		}
		a.Name = record
	}
	if len(w.GetServers()) > MaxServices {
		return refuse(Invalid, "answer: %d servers", len(w.GetServers()))
	}
	a.Servers = make(map[Address]*Identity)
	for _, ws := range w.GetServers() {
		s, err := OpenIdentity(v, ws, nil)
		if err != nil {
			return err
		}
		a.Servers[s.Address()] = s
	}
	return nil
}
