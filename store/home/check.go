package home

import (
	"context"
	"errors"
	"fmt"
)

// tallied is, of each table that is listed, the rows as the tally counts them.
// The table itself is read, not an index, which may be whole where it is not.
func tallied(what string) string {
	switch what {
	case "message":
		return `select owner, box || '.' || folder || '.' || hidden || '.' || read, count(*) from message not indexed group by 1, 2`
	case "contact", "pin":
		return `select x'', '', count(*) from ` + what + ` having count(*) > 0`
	}
	return `select owner, '', count(*) from ` + what + ` not indexed group by 1`
}

// count compares a table with the number of rows that were put into it. A byte
// that changes on a disk may move a row to an owner or a folder that nobody
// asks for; a list would be shorter, and no query an error. Errors: ErrDamaged.
func (h *Home) count(ctx context.Context, what string) error {
	var differ bool
	have, want := tallied(what), `select owner, marks, n from tally where what = ?1 and n <> 0`
	err := h.db.QueryRowContext(ctx, `select exists (select * from (`+have+`) except `+want+`)
		or exists (`+want+` except select * from (`+have+`))`, what).Scan(&differ)
	if err == nil && differ {
		err = fmt.Errorf("there are not as many as were kept: %w", ErrDamaged)
	}
	return err
}

// Check reads the whole file and looks whether it still agrees with itself:
// pages and indexes, references between rows, and how many there are of each.
// Errors: ErrDamaged.
func (h *Home) Check(ctx context.Context) error {
	var said string
	if err := h.db.QueryRowContext(ctx, `pragma integrity_check(1)`).Scan(&said); err != nil {
		return fault("check", err)
	}
	if said != "ok" {
		return fault("check", fmt.Errorf("%s: %w", said, ErrDamaged))
	}
	var lost int
	err := h.db.QueryRowContext(ctx, `select (select count(*) from pragma_foreign_key_check)
		+ (select count(*) from message where mid_hex <> lower(hex(mid)))
		+ (select count(*) from message m left join version v on v.message = m.n and v.version = m.kept where m.kept <> 0 and v.content is null)
		+ (select count(*) from message m left join version v on v.message = m.n and v.version = m.version where v.head is not m.head)`).Scan(&lost)
	if err == nil && lost != 0 {
		err = fmt.Errorf("%d rows do not fit together: %w", lost, ErrDamaged)
	}
	for _, what := range []string{"message", "draft", "follow", "notice", "contact", "pin", "handover"} {
		err = errors.Join(err, h.count(ctx, what))
	}
	return fault("check", err)
}
