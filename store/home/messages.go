package home

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Box says in which ways a message concerns its owner; it is a set.
type Box int

// The boxes.
const (
	Received Box = 1 << iota
	Sent
	Public
)

// Message is one message in its newest known state.
type Message struct {
	Ref message.Ref
	Box Box
	// Version is the newest that the owner heard of, Head its statement and Slot
	// the owner's.
	Version uint64
	Head    *wirev1.Signed
	Slot    *wirev1.Slot
	// Kept is the newest version whose content is kept; 0 for none.
	Kept uint64
	// Seq is the entry's place in the log of the server that listed it.
	Seq    uint64
	Folder store.Folder
	Read   bool
	// Unseen: no version was shown yet, on this device.
	Unseen bool
	// Hidden: the owner deleted the message.
	Hidden  bool
	Arrived time.Time
	// Time of Head; Ended where it is a tombstone; Expires of the contract.
	Time    time.Time
	Ended   bool
	Expires time.Time
	// Subject of the newest kept version.
	Subject string
	// Trouble says, for people, why what was heard of is not believed.
	Trouble string
}

const messageColumns = `author, mid, box, version, head, slot, kept, seq, folder, read, seen, hidden, arrived, time, ended, expires, subject, trouble`

// PutMessage keeps a message, and its head as one of its versions. Where it is
// known, the boxes are united, the newest version stays, and Kept and Subject
// are left to PutVersion; a message of version 0 changes Seq, Folder, Read and
// Hidden alone.
func (h *Home) PutMessage(ctx context.Context, owner message.Address, m Message) error {
	return h.transact(ctx, "put message", func(tx *sql.Tx) error { return putMessage(ctx, tx, owner, m) })
}

// PutMessages keeps messages and how far the log was read, in one transaction.
func (h *Home) PutMessages(ctx context.Context, owner message.Address, ms []Message, c Reading) error {
	return h.transact(ctx, "put messages", func(tx *sql.Tx) error {
		for _, m := range ms {
			if err := putMessage(ctx, tx, owner, m); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `insert into cursor (owner, log, epoch, seq) values (?1, ?2, ?3, ?4)
			on conflict (owner, log) do update set epoch = ?3, seq = ?4`, key(owner), c.Log, int64(c.Epoch), int64(c.Seq))
		return err
	})
}

// Reading is how far a log was read.
type Reading struct {
	Log        string
	Epoch, Seq uint64
}

func putMessage(ctx context.Context, tx *sql.Tx, owner message.Address, m Message) error {
	if m.Version == 0 {
		_, err := tx.ExecContext(ctx, `update message set seq = ?4, folder = max(folder, ?5), read = ?6, hidden = ?7 where owner = ?1 and author = ?2 and mid = ?3`,
			key(owner), key(m.Ref.From), m.Ref.MID.Bytes(), int64(m.Seq), m.Folder, m.Read, m.Hidden)
		return err
	}
	head, err := proto.Marshal(m.Head)
	if err != nil {
		return err
	}
	slot := []byte{}
	if m.Slot != nil {
		if slot, err = proto.Marshal(m.Slot); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `insert into message (owner, author, mid, mid_hex, box, version, head, slot, seq, folder, read, hidden, arrived, time, ended, expires, trouble)
		values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
		on conflict (owner, author, mid) do update set
			box = box | ?5,
			head = iif(?6 >= version, ?7, head),
			slot = iif(?6 > version or (?6 = version and ?8 <> x''), ?8, slot),
			time = iif(?6 >= version, ?14, time),
			ended = iif(?6 >= version, ?15, ended),
			expires = iif(?6 >= version, ?16, expires),
			trouble = iif(?6 >= version, ?17, trouble),
			version = max(version, ?6),
			seq = iif(?9 <> 0, ?9, seq),
			folder = iif(?9 <> 0, ?10, folder),
			read = iif(?9 <> 0, ?11, read),
			hidden = iif(?9 <> 0, ?12, hidden),
			arrived = iif(?13 <> 0, ?13, arrived)`,
		key(owner), key(m.Ref.From), m.Ref.MID.Bytes(), m.Ref.MID.String(), m.Box, m.Version, head, slot, int64(m.Seq), m.Folder, m.Read, m.Hidden,
		millis(m.Arrived), millis(m.Time), m.Ended, millis(m.Expires), m.Trouble)
	if err != nil {
		return err
	}
	// What was alerted stays on record, to compare with what is pulled later.
	_, err = tx.ExecContext(ctx, `insert into version (message, version, head, sizes, classical, fetched)
		select n, ?4, ?5, x'', 0, 0 from message where owner = ?1 and author = ?2 and mid = ?3 on conflict do nothing`,
		key(owner), key(m.Ref.From), m.Ref.MID.Bytes(), m.Version, head)
	return err
}

// Message is one message. Errors: message.NotFound.
func (h *Home) Message(ctx context.Context, owner message.Address, ref message.Ref) (Message, error) {
	all, err := h.messages(ctx, `where owner = ?1 and author = ?2 and mid = ?3`, key(owner), key(ref.From), ref.MID.Bytes())
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Message{}, fault("message", err)
	}
	return all[0], nil
}

// Find is the messages of an owner whose mid begins with these hexadecimal
// digits, of one author where it is not zero; at most limit.
func (h *Home) Find(ctx context.Context, owner, author message.Address, prefix string, limit int) ([]message.Ref, error) {
	// Digits sort before letters, and f before g: a range, so that the index
	// serves it.
	prefix = strings.ToLower(prefix)
	all, err := h.messages(ctx, `where owner = ?1 and mid_hex >= ?2 and mid_hex < ?2 || 'g' and (?3 = x'' or author = ?3) limit ?4`,
		key(owner), prefix, key(author), limit)
	refs := make([]message.Ref, 0, len(all))
	for _, m := range all {
		refs = append(refs, m.Ref)
	}
	return refs, fault("find", err)
}

// Query asks for a list of messages. Zero fields ask for nothing special.
type Query struct {
	// Box is which boxes, any of them.
	Box Box
	// Folders, of what was received; any of them.
	Folders []store.Folder
	// Authors, any of them.
	Authors []message.Address
	Unread  bool
	// Words must all occur; see PutVersion.
	Words []string
	// Limit is how many of the newest; 0 is all.
	Limit int
}

// List is messages, oldest first, without those that the owner deleted. What
// was received stands where it arrived, by the own server's clock; what never
// came to a mailbox, by its author's.
func (h *Home) List(ctx context.Context, owner message.Address, q Query) ([]Message, error) {
	where := []string{"owner = ?", "hidden = 0"}
	args := []any{key(owner)}
	add := func(cond string, values ...any) {
		where, args = append(where, cond), append(args, values...)
	}
	if q.Box != 0 {
		add("box & ? <> 0", int(q.Box))
	}
	if len(q.Folders) != 0 {
		var values []any
		for _, f := range q.Folders {
			values = append(values, int(f))
		}
		add("folder in ("+marks(len(values))+")", values...)
	}
	if len(q.Authors) != 0 {
		var values []any
		for _, a := range q.Authors {
			values = append(values, key(a))
		}
		add("author in ("+marks(len(values))+")", values...)
	}
	if q.Unread {
		add("read = 0")
	}
	for _, w := range q.Words {
		add(`words like ? escape '\'`, "%"+escapeLike(fold(w))+"%")
	}
	limit := q.Limit
	if limit == 0 {
		limit = -1
	}
	args = append(args, limit)
	if err := h.count(ctx, "message"); err != nil {
		return nil, fault("list", err)
	}
	all, err := h.messages(ctx, "where "+strings.Join(where, " and ")+" order by coalesce(nullif(arrived, 0), time) desc, mid desc limit ?", args...)
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, fault("list", err)
}

// marks is n question marks with commas between.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// escapeLike makes a text match itself in a LIKE pattern.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// fold is how text is compared: lower case, by the rules of Unicode, which
// SQLite does not know.
func fold(s string) string { return strings.ToLower(s) }

// Marking changes an owner's own copy; nil fields stay.
type Marking struct {
	Read, Hidden *bool
	// Seen: some version was shown.
	Seen   *bool
	Folder *store.Folder
}

// Mark changes one message. Errors: message.NotFound.
func (h *Home) Mark(ctx context.Context, owner message.Address, ref message.Ref, m Marking) error {
	return fault("mark", changed(h.db.ExecContext(ctx, `update message set read = coalesce(?4, read), hidden = coalesce(?5, hidden), folder = coalesce(?6, folder), seen = coalesce(?7, seen)
		where owner = ?1 and author = ?2 and mid = ?3`, key(owner), key(ref.From), ref.MID.Bytes(), m.Read, m.Hidden, m.Folder, m.Seen)))
}

// Forget erases a message and all its versions from the file. Errors:
// message.NotFound.
func (h *Home) Forget(ctx context.Context, owner message.Address, ref message.Ref) error {
	return fault("forget", changed(h.db.ExecContext(ctx, `delete from message where owner = ?1 and author = ?2 and mid = ?3`,
		key(owner), key(ref.From), ref.MID.Bytes())))
}

func (h *Home) messages(ctx context.Context, where string, args ...any) ([]Message, error) {
	rows, err := h.db.QueryContext(ctx, `select `+messageColumns+` from message `+where, args...)
	return collect(rows, err, scanMessage)
}

func scanMessage(r *sql.Rows) (Message, error) {
	var m Message
	var author, mid, head, slot []byte
	var arrived, at, expires, seq int64
	var seen bool
	err := r.Scan(&author, &mid, &m.Box, &m.Version, &head, &slot, &m.Kept, &seq, &m.Folder, &m.Read, &seen, &m.Hidden,
		&arrived, &at, &m.Ended, &expires, &m.Subject, &m.Trouble)
	if err != nil {
		return m, err
	}
	m.Seq, m.Unseen = uint64(seq), !seen
	m.Arrived, m.Time, m.Expires = fromMillis(arrived), fromMillis(at), fromMillis(expires)
	if m.Ref.From, err = address(author); err != nil {
		return m, err
	}
	if m.Ref.MID, err = message.MIDFromBytes(mid); err != nil {
		return m, err
	}
	m.Head = &wirev1.Signed{}
	if err := proto.Unmarshal(head, m.Head); err != nil {
		return m, err
	}
	if len(slot) != 0 {
		m.Slot = &wirev1.Slot{}
		err = proto.Unmarshal(slot, m.Slot)
	}
	return m, err
}

// Notice is the owner's server's word that a message could not be brought.
type Notice struct {
	MID     message.MID
	To      message.Address
	Version uint64
	Reason  message.Code
	Time    time.Time
}

// PutNotice keeps a notice in place of an older one about the same message and
// recipient.
func (h *Home) PutNotice(ctx context.Context, owner message.Address, n Notice) error {
	_, err := h.db.ExecContext(ctx, `insert into notice (owner, mid, peer, version, reason, time) values (?1, ?2, ?3, ?4, ?5, ?6)
		on conflict (owner, mid, peer) do update set version = ?4, reason = ?5, time = ?6`,
		key(owner), n.MID.Bytes(), key(n.To), n.Version, int32(n.Reason), millis(n.Time))
	return fault("put notice", err)
}

// Notices is an owner's notices, oldest first.
func (h *Home) Notices(ctx context.Context, owner message.Address) ([]Notice, error) {
	if err := h.count(ctx, "notice"); err != nil {
		return nil, fault("notices", err)
	}
	rows, err := h.db.QueryContext(ctx, `select mid, peer, version, reason, time from notice where owner = ?1 order by time, mid, peer`, key(owner))
	out, err := collect(rows, err, func(r *sql.Rows) (Notice, error) {
		var n Notice
		var mid, peer []byte
		var ms int64
		if err := r.Scan(&mid, &peer, &n.Version, &n.Reason, &ms); err != nil {
			return n, err
		}
		n.Time = fromMillis(ms)
		var err error
		if n.MID, err = message.MIDFromBytes(mid); err != nil {
			return n, err
		}
		n.To, err = address(peer)
		return n, err
	})
	return out, fault("notices", err)
}

// RemoveNotices forgets the notices about a message.
func (h *Home) RemoveNotices(ctx context.Context, owner message.Address, mid message.MID) error {
	_, err := h.db.ExecContext(ctx, `delete from notice where owner = ?1 and mid = ?2`, key(owner), mid.Bytes())
	return fault("remove notices", err)
}
