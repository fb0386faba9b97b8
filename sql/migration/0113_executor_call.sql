-- The number of the last call by which a receiver has changed its subscriptions: an earlier one that comes
-- late, from a connection that was lost, changes nothing any more.
alter table openclaw.executor
  add column call bigint not null default 0;
