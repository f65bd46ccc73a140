-- +goose Up

-- passers: names of MessagePasser programs. secret is a hash.
CREATE TABLE passers (
    name   TEXT PRIMARY KEY,
    owner  INTEGER NOT NULL REFERENCES addresses (id),
    secret BLOB NOT NULL,
    added  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX passers_owner ON passers (owner);
