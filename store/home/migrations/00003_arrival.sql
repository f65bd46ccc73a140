-- +goose Up
-- What arrived is listed as it arrived: an author's clock must not hide a letter
-- below others, or hold it above them.
create index message_order on message (owner, coalesce(nullif(arrived, 0), time));
drop index message_time;
