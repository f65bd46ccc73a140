-- +goose Up
create table handover (                   -- versions that the own server does not have yet
  owner      blob not null,
  mid        blob not null,
  version    integer not null,
  submission blob not null,               -- wirev1.Submission
  time       integer not null,            -- when it was made
  expires    integer not null,
  tries      integer not null default 0,
  trouble    text not null default '',
  primary key (owner, mid, version)
) without rowid;

-- +goose StatementBegin
create trigger handover_insert after insert on handover begin
  insert into tally values ('handover', new.owner, '', 1) on conflict do update set n = n + 1;
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger handover_delete after delete on handover begin
  update tally set n = n - 1 where what = 'handover' and owner = old.owner and marks = '';
end;
-- +goose StatementEnd

-- +goose Down
drop table handover;
delete from tally where what = 'handover';
