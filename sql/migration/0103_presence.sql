-- Sessions that want to hear when others come and go, so that nobody need tell all.
alter table openclaw.executor add column watches_presence boolean not null default false;

create index executor_watching on openclaw.executor (executor_id)
  where watches_presence and ended_at is null;
