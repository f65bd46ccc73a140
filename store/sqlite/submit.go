package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// versionBits and recipientBits are the places that a version and a
	// recipient take in the keys of the rows below a message:
	// message.MaxVersions is below 1 << 10, message.MaxRecipients below 1 << 8.
	versionBits   = 10
	recipientBits = 8
)

// submission is one that is ready to be written: everything that does not need
// the transaction was done by the caller's goroutine.
type submission struct {
	store.Submission
	head, parts []byte
	// body is the bytes of slots and payload.
	body int64
}

func prepareSubmission(s store.Submission) (*submission, error) {
	p := &submission{Submission: s, body: int64(len(s.Payload))}
	for _, slot := range s.Slots {
		p.body += int64(proto.Size(slot))
	}
	var err error
	if p.head, err = pack(s.Head.Signed); err != nil {
		return nil, err
	}
	p.parts, err = packParts(s.Slots, s.Blobs)
	return p, err
}

// packParts serialises what belongs to a version besides head and payload.
func packParts(slots []*wirev1.Slot, blobs []store.BlobRef) ([]byte, error) {
	return pack(&wirev1.Submission{Slots: slots, Blobs: wireBlobs(blobs)})
}

func wireBlobs(blobs []store.BlobRef) []*wirev1.BlobRef {
	var out []*wirev1.BlobRef
	for _, b := range blobs {
		out = append(out, &wirev1.BlobRef{Hash: b.ID[:], Size: uint64(b.Size)})
	}
	return out
}

func fromWireBlobs(blobs []*wirev1.BlobRef) ([]store.BlobRef, error) {
	var out []store.BlobRef
	for _, w := range blobs {
		id, err := message.IDFromBytes(w.GetHash())
		if err != nil {
			return nil, err
		}
		out = append(out, store.BlobRef{ID: id, Size: int64(w.GetSize())})
	}
	return out, nil
}

// Submit keeps versions, one step for each in one transaction.
func (d tables) Submit(ctx context.Context, s []store.Submission) []store.SubmitResult {
	results := make([]store.SubmitResult, len(s))
	steps := make([]step, 0, len(s))
	places := make([]int, 0, len(s))
	for i := range s {
		p, err := prepareSubmission(s[i])
		if err != nil {
			results[i].Err = wrap("submit", err)
			continue
		}
		places = append(places, i)
		steps = append(steps, step{plain: true, run: func(t *tx) error { return t.submit(p, &results[i]) }})
	}
	for n, err := range d.w.do(ctx, steps...) {
		if err != nil {
			r := &results[places[n]]
			r.Accepted, r.Err = store.Accepted{}, wrap("submit", err)
		}
	}
	return results
}

// held is what is known of a message before a change.
type held struct {
	id, newest int64
	newestID   message.ID
	tombstone  bool
	body       int64
}

// held reads a message's row.
func (t *tx) held(author int64, mid message.MID) (held, bool, error) {
	var h held
	ok, err := t.row("SELECT id, newest, newest_id, tombstone, body FROM messages WHERE author = ?1 AND mid = ?2",
		[]any{author, mid[:]}, &h.id, &h.newest, fixed(h.newestID[:]), &h.tombstone, &h.body)
	return h, ok, err
}

// submit decides about one submission, and then writes it.
func (t *tx) submit(s *submission, r *store.SubmitResult) error {
	author, hosted, err := t.known(s.Head.From)
	if err != nil {
		return err
	}
	if !hosted {
		return fmt.Errorf("no account: %w", message.NotFound)
	}
	h, exists, err := t.held(author, s.Head.MID)
	if err != nil {
		return err
	}
	if exists && s.Head.Version <= uint64(h.newest) {
		if again, err := t.submittedBefore(h, s.Head, r); again || err != nil {
			return err
		}
	}
	if err := t.checkNext(s, h, exists, r); err != nil {
		return err
	}
	for _, b := range s.Blobs {
		if err := t.checkBlob(author, b); err != nil {
			return err
		}
	}
	u := use{bytes: int64(len(s.head)) + s.body, forced: s.Head.Tombstone()}
	if !exists {
		u.messages = 1
	}
	if err := t.charge(author, u); err != nil {
		return err
	}
	place := t.next()
	if h.id, err = t.putMessage(s, h, author, place.Seq); err != nil {
		return err
	}
	if err := t.putVersion(s, h, author, place); err != nil {
		return err
	}
	if err := t.putDeliveries(s, h.id); err != nil {
		return err
	}
	r.Accepted = store.Accepted{Place: place, At: whole(s.Now)}
	return nil
}

// submittedBefore reports whether the head is held already, and what was said
// about it then.
func (t *tx) submittedBefore(h held, head *message.Head, r *store.SubmitResult) (bool, error) {
	var id message.ID
	var a store.Accepted
	var at int64
	ok, err := t.row("SELECT head_id, epoch, seq, at FROM versions WHERE id = ?1", []any{h.id<<versionBits | int64(head.Version)},
		fixed(id[:]), &a.Epoch, &a.Seq, &at)
	if err != nil || !ok || id != head.ID {
		return false, err
	}
	a.At, a.Again = moment(at), true
	r.Accepted = a
	return true, nil
}

// checkNext is the compare-and-swap, and the recall of a final message.
func (t *tx) checkNext(s *submission, h held, exists bool, r *store.SubmitResult) error {
	if !exists {
		if s.Head.Version != 1 {
			if _, hosted, err := t.account(s.Head.From); err != nil || !hosted {
				return cmp.Or(err, error(message.NotFound))
			}
			return fmt.Errorf("version %d of a message that is not held: %w", s.Head.Version, message.Conflict)
		}
		return nil
	}
	if s.Head.Version != uint64(h.newest)+1 || s.Head.Prev != h.newestID {
		var raw []byte
		_, err := t.row("SELECT head FROM versions WHERE id = ?1", []any{h.id<<versionBits | h.newest}, &raw)
		if err != nil {
			return err
		}
		if r.Current, err = unpackSigned(raw); err != nil {
			return err
		}
		return fmt.Errorf("version %d stands: %w", h.newest, message.Conflict)
	}
	if s.UnlessFetched {
		var one int
		fetched, err := t.row("SELECT 1 FROM fetches WHERE message = ?1 LIMIT 1", []any{h.id}, &one)
		if err != nil {
			return err
		}
		if fetched {
			return message.AlreadyFetched
		}
	}
	return nil
}

// checkBlob wants a blob to be complete and counted towards its author.
func (t *tx) checkBlob(owner int64, b store.BlobRef) error {
	var one int
	ok, err := t.row(`SELECT 1 FROM reservations r JOIN blobs b ON b.hash = r.hash
		WHERE r.owner = ?1 AND r.hash = ?2 AND b.complete = 1 AND b.size = ?3`, []any{owner, b.ID[:], b.Size}, &one)
	if err == nil && !ok {
		return fmt.Errorf("a blob is not complete: %w", message.NotFound)
	}
	return err
}

// putMessage writes the message's own row and returns its id.
func (t *tx) putMessage(s *submission, h held, author int64, seq uint64) (int64, error) {
	var expires any
	if !s.Head.Expires.IsZero() && !s.Head.Tombstone() {
		expires = millis(s.Head.Expires)
	}
	if h.id == 0 {
		// The place in the log is the id: it rises and is never used again, so
		// that what is known of an older message's tasks fits no newer one.
		_, err := t.change(`INSERT INTO messages (id, author, mid, seq, public, newest, newest_id, tombstone, body, expires)
			VALUES (?3, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`, author, s.Head.MID[:], seq, s.Head.Audience == message.Public,
			s.Head.Version, s.Head.ID[:], s.Head.Tombstone(), s.body, expires)
		return int64(seq), err
	}
	if s.Head.Tombstone() {
		if err := t.eraseBody(h, author, s.Head.MID); err != nil {
			return 0, err
		}
		h.body = 0
	}
	_, err := t.change("UPDATE messages SET seq = ?2, newest = ?3, newest_id = ?4, tombstone = ?5, body = ?6, expires = ?7 WHERE id = ?1",
		h.id, seq, s.Head.Version, s.Head.ID[:], s.Head.Tombstone(), h.body+s.body, expires)
	return h.id, err
}

// eraseBody erases slots, payloads and blob references of all versions, and
// takes them off the account.
func (t *tx) eraseBody(h held, author int64, mid message.MID) error {
	if _, err := t.change("UPDATE versions SET parts = x'', payload = x'' WHERE id BETWEEN ?1 AND ?2",
		h.id<<versionBits, h.id<<versionBits|(1<<versionBits-1)); err != nil {
		return err
	}
	if _, err := t.change("DELETE FROM uses WHERE author = ?1 AND mid = ?2 AND copy = 0", author, mid[:]); err != nil {
		return err
	}
	return t.refund(author, h.body, 0)
}

// putVersion writes the version, and which blobs it uses.
func (t *tx) putVersion(s *submission, h held, author int64, place store.Place) error {
	payload := s.Payload
	if payload == nil {
		payload = []byte{}
	}
	_, err := t.change(`INSERT INTO versions (id, head_id, tombstone, epoch, seq, at, head, parts, payload)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`, h.id<<versionBits|int64(s.Head.Version), bytes.Clone(s.Head.ID[:]), s.Head.Tombstone(),
		place.Epoch, place.Seq, millis(s.Now), s.head, s.parts, payload)
	for _, b := range s.Blobs {
		if err == nil {
			err = t.putUse(author, s.Head.MID, b.ID, author, false)
		}
	}
	return err
}

// putUse notes that a message, or a recipient's copy of it, uses a blob.
func (t *tx) putUse(author int64, mid message.MID, blob message.ID, owner int64, copied bool) error {
	_, err := t.change("INSERT OR IGNORE INTO uses (author, mid, hash, owner, copy) VALUES (?1, ?2, ?3, ?4, ?5)",
		author, mid[:], blob[:], owner, copied)
	return err
}

// putDeliveries makes the recipients' rows, with an alert task each, or begins
// them anew.
func (t *tx) putDeliveries(s *submission, id int64) error {
	at := millis(s.Now)
	if s.Head.Version > 1 {
		if len(s.Head.To) == 0 {
			return nil
		}
		_, err := t.change(`UPDATE deliveries SET version = ?3, state = ?4, time = ?5, reason = 0, due = ?5, queued = ?5, attempts = 0,
			noticed = 0 WHERE id BETWEEN ?1 AND ?2`, id<<recipientBits, id<<recipientBits|(1<<recipientBits-1),
			s.Head.Version, int(store.Queued), at)
		return err
	}
	for i, to := range s.Head.To {
		n, err := t.number(to)
		if err != nil {
			return err
		}
		if _, err := t.change(`INSERT INTO deliveries (id, recipient, version, state, time, reason, due, queued, attempts, noticed, receipts)
			VALUES (?1, ?2, ?3, ?4, ?5, 0, ?5, ?5, 0, 0, x'')`, id<<recipientBits|int64(i), n, s.Head.Version, int(store.Queued), at); err != nil {
			return err
		}
	}
	return nil
}
