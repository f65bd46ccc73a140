-- +goose Up

-- inquiries: what is still to be asked of other servers for an owner. epoch and
-- seq are how far the peer's log was read.
CREATE TABLE inquiries (
    owner    INTEGER NOT NULL,
    peer     INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    pages    INTEGER NOT NULL,
    queued   INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (owner, peer)
) WITHOUT ROWID;
CREATE INDEX inquiries_due ON inquiries (due);

-- What is held for one recipient is found without looking at anybody else's.
CREATE INDEX deliveries_recipient ON deliveries (recipient);
