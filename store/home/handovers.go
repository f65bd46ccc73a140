package home

import (
	"context"
	"database/sql"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// Handover is a version of one's own that has gone out, and that the own server does not have yet.
type Handover struct {
	MID     message.MID
	Version uint64
	// Submission is what the server is to be handed.
	Submission *wirev1.Submission
	// Time is when it was made; Expires when it is to be erased everywhere, zero for never.
	Time, Expires time.Time
	// Tries is how often it was tried, and Trouble what came of it the last time, for people.
	Tries   int
	Trouble string
}

// PutHandover keeps a version that is to be handed over, in place of what was kept of it.
func (h *Home) PutHandover(ctx context.Context, owner message.Address, v Handover) error {
	raw, err := proto.Marshal(v.Submission)
	if err != nil {
		return fault("put handover", err)
	}
	_, err = h.db.ExecContext(ctx, `insert into handover (owner, mid, version, submission, time, expires, tries, trouble) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		on conflict (owner, mid, version) do update set submission = ?4, time = ?5, expires = ?6, tries = ?7, trouble = ?8`,
		key(owner), v.MID.Bytes(), v.Version, raw, millis(v.Time), millis(v.Expires), v.Tries, v.Trouble)
	return fault("put handover", err)
}

// Handovers is what an owner's server does not have yet, oldest first.
func (h *Home) Handovers(ctx context.Context, owner message.Address) ([]Handover, error) {
	if err := h.count(ctx, "handover"); err != nil {
		return nil, fault("handovers", err)
	}
	rows, err := h.db.QueryContext(ctx, `select mid, version, submission, time, expires, tries, trouble from handover where owner = ?1 order by time, mid, version`, key(owner))
	all, err := collect(rows, err, scanHandover)
	return all, fault("handovers", err)
}

func scanHandover(r *sql.Rows) (Handover, error) {
	v := Handover{Submission: &wirev1.Submission{}}
	var mid, raw []byte
	var made, expires int64
	err := r.Scan(&mid, &v.Version, &raw, &made, &expires, &v.Tries, &v.Trouble)
	if err == nil {
		v.MID, err = message.MIDFromBytes(mid)
	}
	if err == nil {
		err = proto.Unmarshal(raw, v.Submission)
	}
	v.Time, v.Expires = fromMillis(made), fromMillis(expires)
	return v, err
}

// RemoveHandover forgets a version that was handed over, or never will be. Errors: message.NotFound.
func (h *Home) RemoveHandover(ctx context.Context, owner message.Address, mid message.MID, version uint64) error {
	return fault("remove handover", changed(h.db.ExecContext(ctx, `delete from handover where owner = ?1 and mid = ?2 and version = ?3`, key(owner), mid.Bytes(), version)))
}
