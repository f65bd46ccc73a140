-- +goose Up

-- Unique indexes begin with the mid, which rises with the time: what is new
-- goes to one end, whoever wrote it, and a commit of many messages changes few
-- pages.

CREATE TABLE accounts (
    owner          INTEGER PRIMARY KEY REFERENCES addresses (id),
    joined         INTEGER NOT NULL,
    suspended      INTEGER NOT NULL,
    bytes_limit    INTEGER NOT NULL,
    messages_limit INTEGER NOT NULL,
    bytes_used     INTEGER NOT NULL,
    messages_used  INTEGER NOT NULL,
    trackers       TEXT NOT NULL
);

CREATE TABLE invites (
    token   BLOB PRIMARY KEY,
    uses    INTEGER NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE verdicts (
    owner   INTEGER NOT NULL,
    sender  INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    PRIMARY KEY (owner, sender)
) WITHOUT ROWID;

-- messages: one row for each message of an account, whatever its versions.
-- body is how many bytes of slots and payloads it holds. expires is NULL when
-- there is nothing to erase any more.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    author    INTEGER NOT NULL,
    mid       BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    public    INTEGER NOT NULL,
    newest    INTEGER NOT NULL,
    newest_id BLOB NOT NULL,
    tombstone INTEGER NOT NULL,
    body      INTEGER NOT NULL,
    expires   INTEGER
);
CREATE UNIQUE INDEX messages_mid ON messages (mid, author);
CREATE INDEX messages_seq ON messages (author, seq);
CREATE INDEX messages_public ON messages (author, seq) WHERE public = 1;
CREATE INDEX messages_expires ON messages (expires) WHERE expires IS NOT NULL;

-- versions: id is the message's shifted left by 10, plus the version, so that
-- one tree serves without an index beside it. parts is slots and blob
-- references, serialised.
CREATE TABLE versions (
    id        INTEGER PRIMARY KEY,
    head_id   BLOB NOT NULL,
    tombstone INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    head      BLOB NOT NULL,
    parts     BLOB NOT NULL,
    payload   BLOB NOT NULL
);

-- deliveries: id is the message's shifted left by 8, plus the recipient's place
-- in the head. The alert task lies in the same row; due is NULL without one.
CREATE TABLE deliveries (
    id        INTEGER PRIMARY KEY,
    recipient INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    state     INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    reason    INTEGER NOT NULL,
    due       INTEGER,
    queued    INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    noticed   INTEGER NOT NULL,
    receipts  BLOB NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (due) WHERE due IS NOT NULL;

-- fetches: who has been handed which version.
CREATE TABLE fetches (
    message INTEGER NOT NULL,
    reader  INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (message, reader, version)
) WITHOUT ROWID;

-- entries: one row for each message in an inbox, in its newest state. bytes is
-- what its alerts hold. expires is the newest head's, 0 for none.
CREATE TABLE entries (
    id        INTEGER PRIMARY KEY,
    owner     INTEGER NOT NULL,
    author    INTEGER NOT NULL,
    mid       BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    newest    INTEGER NOT NULL,
    origin    INTEGER NOT NULL,
    arrived   INTEGER NOT NULL,
    folder    INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    deleted   INTEGER NOT NULL,
    tombstone INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
);
CREATE UNIQUE INDEX entries_mid ON entries (mid, author, owner);
CREATE INDEX entries_seq ON entries (owner, seq);
CREATE INDEX entries_requests ON entries (owner, origin, author) WHERE folder = 2 AND deleted = 0;

-- alerts: id is the entry's shifted left by 10, plus the version. head and slot
-- are empty where the owner has deleted the entry.
CREATE TABLE alerts (
    id      INTEGER PRIMARY KEY,
    head_id BLOB NOT NULL,
    epoch   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    head    BLOB NOT NULL,
    slot    BLOB NOT NULL
);

CREATE TABLE notices (
    id      INTEGER PRIMARY KEY,
    owner   INTEGER NOT NULL,
    mid     BLOB NOT NULL,
    peer    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    reason  INTEGER NOT NULL,
    time    INTEGER NOT NULL,
    folder  INTEGER NOT NULL,
    read    INTEGER NOT NULL,
    deleted INTEGER NOT NULL
);
CREATE UNIQUE INDEX notices_mid ON notices (owner, mid, peer);
CREATE INDEX notices_seq ON notices (owner, seq);

-- copies: body is heads, slot, payload and blob references, serialised; taken
-- is when a device took it, 0 for not yet.
CREATE TABLE copies (
    entry   INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    taken   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    body    BLOB NOT NULL
);
CREATE INDEX copies_taken ON copies (taken) WHERE taken > 0;

-- tasks: those that are no alerts. name_version is the version where it is
-- part of the task's name, else 0.
CREATE TABLE tasks (
    id           INTEGER PRIMARY KEY,
    kind         INTEGER NOT NULL,
    author       INTEGER NOT NULL,
    mid          BLOB NOT NULL,
    peer         INTEGER NOT NULL,
    name_version INTEGER NOT NULL,
    receipt      BLOB NOT NULL,
    version      INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    queued       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    noticed      INTEGER NOT NULL
);
CREATE UNIQUE INDEX tasks_name ON tasks (mid, author, peer, kind, name_version, receipt);
CREATE INDEX tasks_due ON tasks (kind, due);

CREATE TABLE blobs (
    hash     BLOB PRIMARY KEY,
    size     INTEGER NOT NULL,
    complete INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE reservations (
    owner    INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    size     INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (owner, hash)
) WITHOUT ROWID;
CREATE INDEX reservations_hash ON reservations (hash);
CREATE INDEX reservations_reserved ON reservations (reserved);

-- uses: which message of which author uses a blob, for the owner whose it is:
-- the author's own message, or with copy = 1 a recipient's copy.
CREATE TABLE uses (
    author INTEGER NOT NULL,
    mid    BLOB NOT NULL,
    hash   BLOB NOT NULL,
    owner  INTEGER NOT NULL,
    copy   INTEGER NOT NULL,
    PRIMARY KEY (mid, author, hash, owner, copy)
) WITHOUT ROWID;
CREATE INDEX uses_hash ON uses (hash, owner);
