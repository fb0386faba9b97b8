-- The schema of what is ours: principals, agents, executors, the delivery state of inboxes.
-- What is a message or a workflow lives in the DBOS tables; nothing here repeats it.
-- All times are milliseconds since 1970 on the database's clock.

create schema if not exists openclaw;

create function openclaw.now_ms()
returns bigint
language sql
volatile
parallel safe
as $$ select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint $$;

-- facts about this installation: the DBOS schema it was made for, the digest of its functions
create table openclaw.setting (
  name text primary key,
  value text not null
);

insert into openclaw.setting (name, value)
values ('dbos_schema', 'dbos_system');

-- who may speak: an agent, an operator, a program
create table openclaw.principal (
  principal_id text primary key
    check (principal_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  kind text not null
    check (kind in ('agent', 'operator', 'program')),
  scopes text[] not null,
  created_at bigint not null default openclaw.now_ms()
);

-- the workflow ids that begin with these words and a colon are the gateway's own
alter table openclaw.principal
  add constraint principal_id_not_reserved
  check (lower(principal_id) not in ('agent', 'provision', 'heartbeat', 'gateway', 'system', 'sched', 'dbos'));

create table openclaw.credential (
  token_sha256 text primary key
    check (token_sha256 ~ '^[0-9a-f]{64}$'),
  credential_id text not null unique default gen_random_uuid()::text,
  principal_id text not null
    references openclaw.principal on delete cascade,
  created_at bigint not null default openclaw.now_ms(),
  expires_at bigint,
  revoked_at bigint,
  last_used_at bigint
);

create index credential_principal on openclaw.credential (principal_id);

create table openclaw.agent (
  agent_id text primary key
    references openclaw.principal on delete cascade,
  name text,
  persona text,
  model text,
  status text not null default 'active'
    check (status in ('active', 'paused')),
  inbox_limit bigint,
  allow_from text[],
  configuration jsonb not null default '{}',
  version bigint not null default 1,
  created_at bigint not null default openclaw.now_ms(),
  updated_at bigint not null default openclaw.now_ms()
);

-- how deep an inbox was when a sweeper last counted, for those who look; what bounds it is inbox_bound
create table openclaw.inbox_depth (
  agent_id text primary key
    references openclaw.agent on delete cascade,
  depth bigint not null,
  counted_at bigint not null
);

-- one start of one process; for a session also its presence
create table openclaw.executor (
  executor_id text primary key,
  kind text not null
    check (kind in ('http', 'session', 'sweeper', 'ctl')),
  host text not null,
  pid integer not null,
  pid_started bigint not null,
  principal_id text,
  client jsonb,
  started_at bigint not null default openclaw.now_ms(),
  seen_at bigint not null default openclaw.now_ms(),
  ended_at bigint
) with (fillfactor = 80);

create index executor_live on openclaw.executor (host)
  where ended_at is null;
create index executor_ended on openclaw.executor (ended_at)
  where ended_at is not null;

-- who receives an inbox's messages by push; an exclusive one with a higher epoch fences the others
create sequence openclaw.epoch;

create table openclaw.subscription (
  agent_id text not null
    references openclaw.agent on delete cascade,
  executor_id text not null
    references openclaw.executor on delete cascade,
  consumer text,
  epoch bigint not null,
  exclusive boolean not null,
  max_in_flight integer not null,
  lease_ms bigint not null,
  primary key (agent_id, executor_id)
);

create index subscription_executor on openclaw.subscription (executor_id);

-- The delivery state of one message of one mailbox. The message itself is the row of
-- notifications with the same message_uuid.
--
--   ready      to be delivered when due_at has come (attempt > 0: it waits for another try)
--   leased     written or about to be written to `holder`; due_at is when the lease ends
--   acked      the recipient confirmed it                     \
--   dead       refused, or delivered max_attempts times        | final; pruned after a while
--   expired    not acknowledged before expires_at              |
--   withdrawn  its workflow was cancelled or deleted          /
create table openclaw.inbox (
  inbox_seq bigint generated always as identity primary key,
  agent_id text not null,
  message_uuid text not null,
  sender text not null,
  workflow_uuid text,
  await_step integer,
  waiter text,
  state text not null default 'ready'
    check (state in ('ready', 'leased', 'acked', 'dead', 'expired', 'withdrawn')),
  priority integer not null default 0
    check (priority between 0 and 9),
  -- the order of delivery: as accepted, a lower priority behind by 10 000 messages a step, so that
  -- nothing starves and the messages of one sender and priority never overtake each other
  rank bigint generated always as (inbox_seq + priority * 10000::bigint) stored,
  expects_reply boolean not null default false,
  handed boolean not null default false,
  attempt integer not null default 0,
  claims integer not null default 0,
  max_attempts integer not null,
  accepted_at bigint not null,
  due_at bigint not null,
  expires_at bigint not null,
  last_attempt_at bigint,
  holder text,
  delivery_id text
) with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000
);

create index inbox_ready on openclaw.inbox (agent_id, rank)
  where state = 'ready';
create index inbox_leased on openclaw.inbox (agent_id, due_at)
  where state = 'leased';
-- messages that no workflow waits for (of DBOS clients, say) are expired by the sweeper
create index inbox_foreign on openclaw.inbox (expires_at)
  where workflow_uuid is null and state in ('ready', 'leased');

-- privileged acts, written in the transaction that does them
create table openclaw.audit (
  audit_id bigint generated always as identity primary key,
  at bigint not null default openclaw.now_ms(),
  principal_id text not null,
  act text not null,
  subject text,
  detail jsonb
);

-- the queue on which clients of DBOS start the gateway's workflows
insert into dbos_system.queues (name, priority_enabled)
values ('openclaw', true)
on conflict (name) do nothing;
