package message

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Kind of a version.
type Kind int32

// The kinds.
const (
	KindContent   = Kind(wirev1.Kind_KIND_CONTENT)
	KindTombstone = Kind(wirev1.Kind_KIND_TOMBSTONE)
)

// Audience of a message.
type Audience int32

// The audiences.
const (
	Public  = Audience(wirev1.Audience_AUDIENCE_PUBLIC)
	Private = Audience(wirev1.Audience_AUDIENCE_PRIVATE)
)

// Terms is the contract of a message: what its sender may still do.
type Terms int32

// The contracts.
const (
	// Final: readers refuse a second version; recall only while nobody has fetched.
	Final = Terms(wirev1.Contract_CONTRACT_FINAL)
	// Revisable: readers keep what they fetched and see what changed.
	Revisable = Terms(wirev1.Contract_CONTRACT_REVISABLE)
	// Ephemeral: erased everywhere when it expires.
	Ephemeral = Terms(wirev1.Contract_CONTRACT_EPHEMERAL)
)

// String is the contract in a word.
func (t Terms) String() string {
	switch t {
	case Final:
		return "final"
	case Revisable:
		return "revisable"
	case Ephemeral:
		return "ephemeral"
	}
	return "unknown"
}

// ParseTerms reads the word.
func ParseTerms(s string) (Terms, error) {
	for _, t := range []Terms{Final, Revisable, Ephemeral} {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, refuse(Invalid, "contract %q: final, revisable or ephemeral", clip(s))
}

// Head is the verified, signed part of one version of a message. It is the
// alert as well: the origin cannot forge one, and every later edit leaves
// evidence.
type Head struct {
	ID       ID
	From     Address
	CardID   ID
	MID      MID
	Version  uint64
	Prev     ID
	Time     time.Time
	Kind     Kind
	Audience Audience
	To       []Address
	Suite    crypto.Suite
	Terms    Terms
	// Expires is zero but for the ephemeral contract.
	Expires time.Time
	// Name of a named public message.
	Name        string
	PayloadHash ID
	PayloadLen  int
	Commit      [32]byte
	Signed      *wirev1.Signed

	binding []byte
	parsed  parsed
}

// Ref is the message that the head is a version of.
func (h *Head) Ref() Ref { return Ref{From: h.From, MID: h.MID} }

// Tombstone reports whether the head recalls the message.
func (h *Head) Tombstone() bool { return h.Kind == KindTombstone }

// Expired reports whether an ephemeral message is over.
func (h *Head) Expired(now time.Time) bool { return !h.Expires.IsZero() && !now.Before(h.Expires) }

// Addressed reports whether a is among the recipients.
func (h *Head) Addressed(a Address) bool { return slices.Contains(h.To, a) }

// Reader reports whether a is a recipient or the author: the ones who have
// slots.
func (h *Head) Reader(a Address) bool { return a == h.From || h.Addressed(a) }

// context is what the encryption is bound to: sender, recipients, version and
// the rest of the binding. It stops somebody from signing another's
// ciphertext as his own, and a slot from being moved to another message.
func (h *Head) context() [32]byte { return crypto.Hash("ctx", h.binding) }

// HeadClaim is a head whose shape was read and whose signature was not
// checked. Its fields serve to find the author's chain and to look for a
// duplicate; Verify makes it a Head.
type HeadClaim struct{ head *Head }

// ID is the statement's id; it is right whoever signed.
func (c HeadClaim) ID() ID { return c.head.ID }

// From is the claimed author.
func (c HeadClaim) From() Address { return c.head.From }

// MID is the claimed message.
func (c HeadClaim) MID() MID { return c.head.MID }

// Version is the claimed version.
func (c HeadClaim) Version() uint64 { return c.head.Version }

// Addressed reports whether the claim names a among the recipients.
func (c HeadClaim) Addressed(a Address) bool { return c.head.Addressed(a) }

// Verify checks the head against its author's chain as it stands now: the
// signer is a device key of the card that the head names and of the newest
// one. Errors: BadSignature, NeedBundle, Denied (closed identity).
func (c HeadClaim) Verify(v crypto.Verifier, author *Chain) (*Head, error) {
	if err := c.attribute(author, true); err != nil {
		return nil, err
	}
	if err := c.head.parsed.verify(v); err != nil {
		return nil, err
	}
	return c.head, nil
}

// VerifyKept checks a head that was accepted before: its signer was a device
// key of the card that it names, whatever has become of that key since. For
// one's own store and for older versions in a chain whose newest version was
// checked with Verify.
func (c HeadClaim) VerifyKept(v crypto.Verifier, author *Chain) (*Head, error) {
	if err := c.attribute(author, false); err != nil {
		return nil, err
	}
	if err := c.head.parsed.verify(v); err != nil {
		return nil, err
	}
	return c.head, nil
}

// VerifyHeads is Verify for several claims, each with its author's chain, and
// checks their signatures as one batch. Where errs is not nil, there is no head.
func VerifyHeads(v crypto.Verifier, claims []HeadClaim, authors []*Chain) (heads []*Head, errs []error) {
	heads, errs = make([]*Head, len(claims)), make([]error, len(claims))
	checks := make([]crypto.Check, 0, len(claims))
	places := make([]int, 0, len(claims))
	for n, c := range claims {
		if errs[n] = c.attribute(authors[n], true); errs[n] == nil {
			checks, places = append(checks, c.head.parsed.check), append(places, n)
		}
	}
	for i, good := range v.VerifyAll(checks) {
		n := places[i]
		if good {
			heads[n] = claims[n].head
		} else {
			errs[n] = refuse(BadSignature, kindHead)
		}
	}
	return heads, errs
}

// attribute checks that the key belongs to the author. With that it is one whose
// point was looked at when the card was read, which ParseHead leaves out: it is
// half the price of checking a signature. Any other key is refused, and here
// still with the reason that is nearest.
func (c HeadClaim) attribute(author *Chain, current bool) error {
	err := c.listed(author, current)
	if err != nil {
		if _, bad := parseKey(kindHead, c.head.Signed.GetKey()); bad != nil {
			return bad
		}
	}
	return err
}

// listed is attribute without the reason.
func (c HeadClaim) listed(author *Chain, current bool) error {
	h := c.head
	if author.Address() != h.From {
		return refuse(Invalid, "head: of another author")
	}
	if current {
		_, err := author.signer(kindHead, h.CardID[:], h.parsed.key)
		return err
	}
	card, ok := author.Card(h.CardID)
	if !ok {
		return Need(h.From)
	}
	if !card.Lists(h.parsed.key) {
		return refuse(BadSignature, "head: not signed by a device key of its card")
	}
	return nil
}

// OpenHead is ParseHead and Verify in one.
func OpenHead(v crypto.Verifier, author *Chain, s *wirev1.Signed) (*Head, error) {
	c, err := ParseHead(s)
	if err != nil {
		return nil, err
	}
	return c.Verify(v, author)
}

// ParseHead reads a head strictly, without believing it (docs/protocol.md §7.1).
// Whether the key is a good one is left to Verify. Errors: Invalid, TooLarge,
// Unsupported (a payload suite that is not known here).
func ParseHead(s *wirev1.Signed) (HeadClaim, error) {
	var w wirev1.Head
	p, err := parseWith(kindHead, s, MaxHead, &w, crypto.ClaimedVerifyKey)
	if err != nil {
		return HeadClaim{}, err
	}
	var b wirev1.Binding
	if err := proto.Unmarshal(w.GetBinding(), &b); err != nil {
		return HeadClaim{}, refuse(Invalid, "head: binding")
	}
	if err := checkTimes("head", b.GetTime(), b.GetExpires()); err != nil {
		return HeadClaim{}, err
	}
	h := &Head{
		ID: p.id, Version: b.GetVersion(), Time: fromMillis(b.GetTime()), Kind: Kind(b.GetKind()), Audience: Audience(b.GetAudience()),
		Suite: crypto.Suite(b.GetSuite()), Terms: Terms(b.GetContract()), Name: b.GetName(), Signed: s, binding: w.GetBinding(), parsed: p,
	}
	if err := h.parseNames(&b); err != nil {
		return HeadClaim{}, err
	}
	if err := h.checkAudience(); err != nil {
		return HeadClaim{}, err
	}
	if err := h.parseTerms(&b); err != nil {
		return HeadClaim{}, err
	}
	if err := h.parsePayload(&w); err != nil {
		return HeadClaim{}, err
	}
	return HeadClaim{h}, nil
}

// parseNames reads who and which.
func (h *Head) parseNames(b *wirev1.Binding) (err error) {
	if h.From, err = AddressFromBytes(b.GetFrom()); err != nil {
		return err
	}
	if h.CardID, err = IDFromBytes(b.GetCardId()); err != nil {
		return err
	}
	if h.MID, err = MIDFromBytes(b.GetMid()); err != nil {
		return err
	}
	if h.Version < 1 || h.Version > MaxVersions {
		return refuse(Invalid, "head: version %d, 1 to %d", h.Version, MaxVersions)
	}
	if h.Version == 1 {
		if len(b.GetPrev()) != 0 {
			return refuse(Invalid, "head: version 1 has no prev")
		}
	} else if h.Prev, err = IDFromBytes(b.GetPrev()); err != nil {
		return err
	}
	if len(b.GetTo()) > MaxRecipients {
		return refuse(Invalid, "head: %d recipients, at most %d", len(b.GetTo()), MaxRecipients)
	}
	for _, raw := range b.GetTo() {
		a, err := AddressFromBytes(raw)
		if err != nil {
			return err
		}
		if h.Addressed(a) {
			return refuse(Invalid, "head: a recipient twice")
		}
		h.To = append(h.To, a)
	}
	return nil
}

// checkAudience keeps private and clear apart: what is private has recipients
// and a suite, what is public has neither. There is no third way, so nothing
// becomes readable because something was left out.
func (h *Head) checkAudience() error {
	switch h.Audience {
	case Private:
		if len(h.To) == 0 || h.Name != "" {
			return refuse(Invalid, "head: a private message has recipients and no name")
		}
		if h.Kind == KindContent && h.Suite == crypto.SuiteNone {
			return refuse(Invalid, "head: a private message is encrypted")
		}
		if !crypto.KnownSuite(h.Suite) {
			return refuse(Unsupported, "head: payload suite %d", h.Suite)
		}
	case Public:
		if len(h.To) != 0 || h.Suite != crypto.SuiteNone {
			return refuse(Invalid, "head: a public message has no recipients and is not encrypted")
		}
		if h.Name != "" {
			if err := CheckPostName(h.Name); err != nil {
				return err
			}
			if h.MID != NamedMID(h.Name) {
				return refuse(Invalid, "head: the mid of a named message follows from its name")
			}
		}
	default:
		return refuse(Invalid, "head: audience %d", h.Audience)
	}
	return nil
}

// parseTerms reads contract and expiry.
func (h *Head) parseTerms(b *wirev1.Binding) error {
	if h.Terms < Final || h.Terms > Ephemeral {
		return refuse(Invalid, "head: contract %d", h.Terms)
	}
	if (h.Terms == Ephemeral) != (b.GetExpires() != 0) {
		return refuse(Invalid, "head: the ephemeral contract, and no other, has an expiry")
	}
	if b.GetExpires() != 0 {
		h.Expires = fromMillis(b.GetExpires())
	}
	return nil
}

// parsePayload reads what is said about the payload.
func (h *Head) parsePayload(w *wirev1.Head) error {
	switch h.Kind {
	case KindTombstone:
		if len(w.GetPayloadHash()) != 0 || w.GetPayloadLen() != 0 || len(w.GetCommit()) != 0 || h.Version == 1 {
			return refuse(Invalid, "head: a tombstone has no payload and is not the first version")
		}
		return nil
	case KindContent:
	default:
		return refuse(Invalid, "head: kind %d", h.Kind)
	}
	var err error
	if h.PayloadHash, err = IDFromBytes(w.GetPayloadHash()); err != nil {
		return err
	}
	if w.GetPayloadLen() > MaxPayload {
		return refuse(TooLarge, "head: payload of %d bytes, at most %d", w.GetPayloadLen(), MaxPayload)
	}
	h.PayloadLen = int(w.GetPayloadLen())
	if h.Suite == crypto.SuiteNone {
		if len(w.GetCommit()) != 0 {
			return refuse(Invalid, "head: a commitment without encryption")
		}
		return nil
	}
	if len(w.GetCommit()) != len(h.Commit) {
		return refuse(Invalid, "head: commitment of %d bytes", len(w.GetCommit()))
	}
	copy(h.Commit[:], w.GetCommit())
	return nil
}

// CheckPayload refuses bytes that are not the payload of this head. Errors:
// Invalid where the length differs, BadSignature where the hash does.
func (h *Head) CheckPayload(payload []byte) error {
	if len(payload) != h.PayloadLen {
		return refuse(Invalid, "payload of %d bytes, not %d", len(payload), h.PayloadLen)
	}
	if !h.Tombstone() && ID(crypto.Sum(payload)) != h.PayloadHash {
		return refuse(BadSignature, "payload: not the one that was signed")
	}
	return nil
}

// CheckFirst refuses a head that cannot begin a message.
func (h *Head) CheckFirst() error {
	if h.Version != 1 {
		return refuse(Conflict, "head: version %d of a message that is not known", h.Version)
	}
	return nil
}

// CheckNext refuses, with Conflict, Contract, Recalled or Invalid, a next
// version that may not follow h. What is fixed by version 1 (recipients,
// audience, contract, expiry, name) cannot change. A name may be used again
// after a tombstone (docs/protocol.md §7.2).
func (h *Head) CheckNext(next *Head) error {
	switch {
	case next.From != h.From || next.MID != h.MID:
		return refuse(Invalid, "next version: of another message")
	case next.Version != h.Version+1 || next.Prev != h.ID:
		return refuse(Conflict, "next version: version %d does not follow version %d", next.Version, h.Version)
	}
	if err := h.follow(next.Tombstone()); err != nil {
		return err
	}
	switch {
	case next.Audience != h.Audience || next.Name != h.Name || !slices.Equal(next.To, h.To):
		return refuse(Invalid, "next version: audience and recipients are fixed by the first version")
	case h.Tombstone():
		return nil
	case next.Terms != h.Terms || !next.Expires.Equal(h.Expires):
		return refuse(Invalid, "next version: contract and expiry are fixed by the first version")
	}
	return nil
}

// follow refuses what the state of h rules out, whatever the next version says:
// anything after a recall, but for new content under a name; and a second
// content version of a final message.
func (h *Head) follow(tombstone bool) error {
	switch {
	case h.Tombstone() && (h.Name == "" || tombstone):
		return refuse(Recalled, "next version")
	case !h.Tombstone() && h.Terms == Final && !tombstone:
		return refuse(Contract, "next version: a final message has one version")
	}
	return nil
}
