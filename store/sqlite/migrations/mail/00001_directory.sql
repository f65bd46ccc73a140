-- +goose Up

-- addresses gives every address a small number, so that rows and keys that
-- name it stay small. Rows are never removed: numbers may be cached.
CREATE TABLE addresses (
    id      INTEGER PRIMARY KEY,
    address BLOB NOT NULL UNIQUE
);

-- log has the one row that says where the store stands.
CREATE TABLE log (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    seq   INTEGER NOT NULL
);
INSERT INTO log (one, epoch, seq) VALUES (1, 1, 0);

-- identities: bundle is the cards, first-seen times and route, serialised.
CREATE TABLE identities (
    address    INTEGER PRIMARY KEY REFERENCES addresses (id),
    revision   INTEGER NOT NULL,
    pair_card  INTEGER NOT NULL,
    pair_route INTEGER NOT NULL,
    route_id   BLOB NOT NULL,
    expires    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    bundle     BLOB NOT NULL
);

CREATE TABLE evidence (
    id    INTEGER PRIMARY KEY,
    about INTEGER NOT NULL REFERENCES addresses (id),
    kind  TEXT NOT NULL,
    a     BLOB NOT NULL,
    b     BLOB NOT NULL
);
CREATE INDEX evidence_about ON evidence (about);

CREATE TABLE names (
    name    TEXT PRIMARY KEY,
    address INTEGER NOT NULL REFERENCES addresses (id),
    time    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_address ON names (address);

CREATE TABLE listings (
    address INTEGER PRIMARY KEY REFERENCES addresses (id),
    listing INTEGER NOT NULL
);
