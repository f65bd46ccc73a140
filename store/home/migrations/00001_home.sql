-- +goose Up
create table identity (
  address    blob primary key,
  bundle     blob not null,               -- wirev1.Identity with first-seen times
  route_id   blob not null,
  pair_card  integer not null,
  pair_route integer not null,
  expires    integer not null,
  updated    integer not null,
  revision   integer not null
) without rowid;

create table evidence (
  n     integer primary key,
  about blob not null,
  kind  text not null,
  a     blob not null,
  b     blob not null,
  unique (about, kind, a, b)
);

create table account (
  owner    blob primary key,
  server   text not null,                 -- reference
  trackers text not null,                 -- references, one a line
  name     text not null,                 -- name@host, or empty
  joined   integer not null,
  renewed  integer not null,
  expires  integer not null               -- of the ticket
) without rowid;

create table contact (
  name    text primary key,
  address blob not null,
  added   integer not null
) without rowid;

create table pin (
  name    text primary key,               -- name@host
  address blob not null,
  pinned  integer not null,
  offered blob not null                   -- what the tracker says now, where it differs
) without rowid;

create table accepted (
  address blob primary key,
  card    blob not null,
  time    integer not null
) without rowid;

create table message (
  n        integer primary key,
  owner    blob not null,
  author   blob not null,
  mid      blob not null,
  mid_hex  text not null,
  box      integer not null,              -- bits: 1 received, 2 sent, 4 public
  version  integer not null,
  head     blob not null,
  slot     blob not null,
  kept     integer not null default 0,    -- newest version in the table version
  seq      integer not null default 0,
  folder   integer not null default 0,
  read     integer not null default 0,
  seen     integer not null default 0,    -- some version was shown on this device
  hidden   integer not null default 0,
  arrived  integer not null default 0,
  time     integer not null,
  ended    integer not null default 0,    -- the newest version is a tombstone
  expires  integer not null default 0,
  subject  text not null default '',
  words    text not null default '',      -- what a search looks at, lower case
  trouble  text not null default '',
  unique (owner, author, mid)
);
create index message_time on message (owner, time);
create index message_mid on message (owner, mid_hex);
create index message_expires on message (expires) where expires <> 0;

create table version (
  message   integer not null references message (n) on delete cascade,
  version   integer not null,
  head      blob not null,
  content   blob,                         -- wirev1.Content; null once erased, and in tombstones
  sizes     blob not null,                -- blobs as stored
  classical integer not null,
  fetched   integer not null,
  primary key (message, version)
) without rowid;

create table part (                       -- data of components that are blobs
  message integer not null references message (n) on delete cascade,
  version integer not null,
  n       integer not null,
  data    blob not null,
  primary key (message, version, n)
) without rowid;

create table notice (
  owner   blob not null,
  mid     blob not null,
  peer    blob not null,
  version integer not null,
  reason  integer not null,
  time    integer not null,
  primary key (owner, mid, peer)
) without rowid;

create table cursor (
  owner blob not null,
  log   text not null,
  epoch integer not null,
  seq   integer not null,
  primary key (owner, log)
) without rowid;

create table draft (
  n       integer primary key autoincrement,
  owner   blob not null,
  body    blob not null,
  trouble text not null,
  time    integer not null
);

create table upload (
  owner      blob not null,
  path       text not null,
  size       integer not null,
  modified   integer not null,            -- nanoseconds
  attachment blob not null,               -- wirev1.Attachment with its key
  time       integer not null,
  primary key (owner, path)
) without rowid;

create table follow (
  owner   blob not null,
  address blob not null,
  since   integer not null,
  primary key (owner, address)
) without rowid;

-- +goose Down
drop table follow;
drop table upload;
drop table draft;
drop table cursor;
drop table notice;
drop table part;
drop table version;
drop table message;
drop table accepted;
drop table pin;
drop table contact;
drop table account;
drop table evidence;
drop table identity;
