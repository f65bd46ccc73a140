-- +goose Up
create table tally (                      -- how many rows there must be, kept by triggers
  what  text not null,
  owner blob not null,
  marks text not null,                    -- what lists choose by: box, folder, hidden, read
  n     integer not null,
  primary key (what, owner, marks)
) without rowid;

insert into tally select 'message', owner, box || '.' || folder || '.' || hidden || '.' || read, count(*) from message group by 1, 2, 3;
-- +goose StatementBegin
create trigger message_insert after insert on message begin
  insert into tally values ('message', new.owner, new.box || '.' || new.folder || '.' || new.hidden || '.' || new.read, 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger message_delete after delete on message begin
  update tally set n = n - 1 where what = 'message' and owner = old.owner and marks = old.box || '.' || old.folder || '.' || old.hidden || '.' || old.read;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger message_update after update of owner, box, folder, hidden, read on message begin
  update tally set n = n - 1 where what = 'message' and owner = old.owner and marks = old.box || '.' || old.folder || '.' || old.hidden || '.' || old.read;
  insert into tally values ('message', new.owner, new.box || '.' || new.folder || '.' || new.hidden || '.' || new.read, 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd

insert into tally select 'draft', owner, '', count(*) from draft group by 1, 2, 3;
-- +goose StatementBegin
create trigger draft_insert after insert on draft begin
  insert into tally values ('draft', new.owner, '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger draft_delete after delete on draft begin
  update tally set n = n - 1 where what = 'draft' and owner = old.owner and marks = '';
end;
-- +goose StatementEnd

insert into tally select 'follow', owner, '', count(*) from follow group by 1, 2, 3;
-- +goose StatementBegin
create trigger follow_insert after insert on follow begin
  insert into tally values ('follow', new.owner, '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger follow_delete after delete on follow begin
  update tally set n = n - 1 where what = 'follow' and owner = old.owner and marks = '';
end;
-- +goose StatementEnd

insert into tally select 'notice', owner, '', count(*) from notice group by 1, 2, 3;
-- +goose StatementBegin
create trigger notice_insert after insert on notice begin
  insert into tally values ('notice', new.owner, '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger notice_delete after delete on notice begin
  update tally set n = n - 1 where what = 'notice' and owner = old.owner and marks = '';
end;
-- +goose StatementEnd

insert into tally select 'contact', x'', '', count(*) from contact group by 1, 2, 3;
-- +goose StatementBegin
create trigger contact_insert after insert on contact begin
  insert into tally values ('contact', x'', '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger contact_delete after delete on contact begin
  update tally set n = n - 1 where what = 'contact' and owner = x'' and marks = '';
end;
-- +goose StatementEnd

insert into tally select 'pin', x'', '', count(*) from pin group by 1, 2, 3;
-- +goose StatementBegin
create trigger pin_insert after insert on pin begin
  insert into tally values ('pin', x'', '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger pin_delete after delete on pin begin
  update tally set n = n - 1 where what = 'pin' and owner = x'' and marks = '';
end;
-- +goose StatementEnd

-- +goose Down
drop trigger message_insert;
drop trigger message_delete;
drop trigger message_update;
drop trigger draft_insert;
drop trigger draft_delete;
drop trigger follow_insert;
drop trigger follow_delete;
drop trigger notice_insert;
drop trigger notice_delete;
drop trigger contact_insert;
drop trigger contact_delete;
drop trigger pin_insert;
drop trigger pin_delete;
drop table tally;
