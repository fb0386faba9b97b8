-- What is counted for /metrics. The rows of messages and workflows say most of it; what has to be kept
-- of those that retention deletes, the sweeper adds up here, in batches, behind the traffic.

-- sums that only grow; labels as the metric has them
create table openclaw.metric (
  name text not null,
  labels text[] not null default '{}',
  value bigint not null,
  primary key (name, labels)
) with (fillfactor = 50);

-- what was added since: rows that the next fold takes, so that nobody waits for anybody to count
create table openclaw.metric_added (
  added_id bigint generated always as identity primary key,
  name text not null,
  labels text[] not null default '{}',
  value bigint not null
);

-- How far the sums reach: messages by their sequence number, settled ones, workflows and steps by their
-- time (below it). What comes behind is counted where it stands. A bound that was seen in one fold is
-- paired in the next with a transaction id, and taken when no older transaction runs any more: so
-- nothing below a bound can still appear.
create table openclaw.metric_fold (
  only_one boolean primary key default true
    check (only_one),
  folded_at bigint not null default 0,
  accepted_seq bigint not null default 0,
  settled_at bigint not null default 0,
  seen_seq bigint not null default 0,
  seen_at bigint not null default 0,
  due_seq bigint not null default 0,
  due_at bigint not null default 0,
  due_xid xid8 not null default '0'
);

insert into openclaw.metric_fold default values;

-- Messages that wait for another try: few, and otherwise found only by reading all that wait.
create index inbox_retry on openclaw.inbox (inbox_seq)
  where state = 'ready' and attempt > 0;
