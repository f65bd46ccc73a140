package home

import (
	"context"
	"database/sql"
	"time"

	"airdispatch/message"
)

// Contact is a person's own name for an address.
type Contact struct {
	Name    string
	Address message.Address
	Added   time.Time
}

// Contact finds a contact by its name, whatever the case. Errors:
// message.NotFound.
func (h *Home) Contact(ctx context.Context, name string) (Contact, error) {
	all, err := h.contacts(ctx, `where name = ?1`, fold(name))
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Contact{}, fault("contact", err)
	}
	return all[0], nil
}

// Contacts is all contacts by name.
func (h *Home) Contacts(ctx context.Context) ([]Contact, error) {
	if err := h.count(ctx, "contact"); err != nil {
		return nil, fault("contacts", err)
	}
	all, err := h.contacts(ctx, ``)
	return all, fault("contacts", err)
}

// AddContact adds a contact. A name that stands for another address is
// message.Conflict: one removes it first, knowingly.
func (h *Home) AddContact(ctx context.Context, c Contact) error {
	return h.transact(ctx, "add contact", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into contact (name, address, added) values (?1, ?2, ?3) on conflict do nothing`,
			fold(c.Name), key(c.Address), millis(c.Added))
		if err != nil {
			return err
		}
		var same bool
		if err := tx.QueryRowContext(ctx, `select address = ?2 from contact where name = ?1`, fold(c.Name), key(c.Address)).Scan(&same); err != nil {
			return err
		}
		if !same {
			return message.Conflict
		}
		return nil
	})
}

// RemoveContact forgets a contact. Errors: message.NotFound.
func (h *Home) RemoveContact(ctx context.Context, name string) error {
	return fault("remove contact", changed(h.db.ExecContext(ctx, `delete from contact where name = ?1`, fold(name))))
}

func (h *Home) contacts(ctx context.Context, where string, args ...any) ([]Contact, error) {
	rows, err := h.db.QueryContext(ctx, `select name, address, added from contact `+where+` order by name`, args...)
	return collect(rows, err, func(r *sql.Rows) (Contact, error) {
		var c Contact
		var a []byte
		var added int64
		if err := r.Scan(&c.Name, &a, &added); err != nil {
			return c, err
		}
		c.Added = fromMillis(added)
		var err error
		c.Address, err = address(a)
		return c, err
	})
}

// Pin is a name that a tracker gave, as it was first resolved.
type Pin struct {
	// Name is name@host.
	Name    string
	Address message.Address
	Pinned  time.Time
	// Offered is what the tracker says now, where that is another address; zero
	// where it is not.
	Offered message.Address
}

// Pin finds the pin of name@host. Errors: message.NotFound.
func (h *Home) Pin(ctx context.Context, name string) (Pin, error) {
	all, err := h.pins(ctx, `where name = ?1`, fold(name))
	if err == nil && len(all) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		return Pin{}, fault("pin", err)
	}
	return all[0], nil
}

// Pins is all pins by name.
func (h *Home) Pins(ctx context.Context) ([]Pin, error) {
	if err := h.count(ctx, "pin"); err != nil {
		return nil, fault("pins", err)
	}
	all, err := h.pins(ctx, ``)
	return all, fault("pins", err)
}

// Resolve records what a tracker says about name@host, and returns the pin. The
// first answer is pinned; a later one that differs is kept beside it and
// changes nothing.
func (h *Home) Resolve(ctx context.Context, name string, a message.Address, now time.Time) (Pin, error) {
	_, err := h.db.ExecContext(ctx, `insert into pin (name, address, pinned, offered) values (?1, ?2, ?3, x'')
		on conflict (name) do update set offered = case when address = ?2 then x'' else ?2 end`, fold(name), key(a), millis(now))
	if err != nil {
		return Pin{}, fault("resolve", err)
	}
	return h.Pin(ctx, name)
}

// AcceptPin makes what the tracker says now the pin. Errors: message.NotFound
// where nothing differs.
func (h *Home) AcceptPin(ctx context.Context, name string, now time.Time) error {
	return fault("accept pin", changed(h.db.ExecContext(ctx,
		`update pin set address = offered, offered = x'', pinned = ?2 where name = ?1 and offered <> x''`, fold(name), millis(now))))
}

func (h *Home) pins(ctx context.Context, where string, args ...any) ([]Pin, error) {
	rows, err := h.db.QueryContext(ctx, `select name, address, pinned, offered from pin `+where+` order by name`, args...)
	return collect(rows, err, func(r *sql.Rows) (Pin, error) {
		var p Pin
		var a, offered []byte
		var pinned int64
		if err := r.Scan(&p.Name, &a, &pinned, &offered); err != nil {
			return p, err
		}
		p.Pinned = fromMillis(pinned)
		var err error
		if p.Address, err = address(a); err != nil {
			return p, err
		}
		p.Offered, err = address(offered)
		return p, err
	})
}

// Accept records that a person takes an address as it stands with this newest
// card, although trackers disagree about it.
func (h *Home) Accept(ctx context.Context, a message.Address, card message.ID, now time.Time) error {
	_, err := h.db.ExecContext(ctx, `insert into accepted (address, card, time) values (?1, ?2, ?3)
		on conflict (address) do update set card = ?2, time = ?3`, key(a), card[:], millis(now))
	return fault("accept", err)
}

// Accepted is the card with which a person took an address. Errors:
// message.NotFound.
func (h *Home) Accepted(ctx context.Context, a message.Address) (message.ID, error) {
	var card []byte
	if err := h.db.QueryRowContext(ctx, `select card from accepted where address = ?1`, key(a)).Scan(&card); err != nil {
		return message.ID{}, fault("accepted", err)
	}
	id, err := message.IDFromBytes(card)
	return id, fault("accepted", err)
}

// Follow is a followed address.
type Follow struct {
	Address message.Address
	Since   time.Time
}

// SetFollow adds or removes a followed address. Errors: message.NotFound where
// one is removed that is not there.
func (h *Home) SetFollow(ctx context.Context, owner, a message.Address, follow bool, now time.Time) error {
	if !follow {
		return fault("unfollow", changed(h.db.ExecContext(ctx, `delete from follow where owner = ?1 and address = ?2`, key(owner), key(a))))
	}
	_, err := h.db.ExecContext(ctx, `insert into follow (owner, address, since) values (?1, ?2, ?3) on conflict do nothing`, key(owner), key(a), millis(now))
	return fault("follow", err)
}

// Follows is whom an owner follows, in the order in which it began.
func (h *Home) Follows(ctx context.Context, owner message.Address) ([]Follow, error) {
	if err := h.count(ctx, "follow"); err != nil {
		return nil, fault("follows", err)
	}
	rows, err := h.db.QueryContext(ctx, `select address, since from follow where owner = ?1 order by since, address`, key(owner))
	out, err := collect(rows, err, func(r *sql.Rows) (Follow, error) {
		var f Follow
		var a []byte
		var since int64
		if err := r.Scan(&a, &since); err != nil {
			return f, err
		}
		f.Since = fromMillis(since)
		var err error
		f.Address, err = address(a)
		return f, err
	})
	return out, fault("follows", err)
}
