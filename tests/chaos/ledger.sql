-- SPDX-License-Identifier: MIT
-- A ledger beside the tables: what was written, not only what is there now. Each line is committed
-- with the row that it tells of, so a message settled twice, a checkpoint recorded twice or an outcome
-- that changed stays visible.
create schema if not exists chaos;

create table if not exists chaos.ledger (
  at timestamptz not null default clock_timestamp(),
  what text not null,   -- settled, step, outcome
  id text not null,
  detail text
);

create or replace function chaos.note_settled()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
  insert into chaos.ledger (what, id, detail)
  values ('settled', new.inbox_seq::text, format('%s %s by %s', old.state, new.state, new.delivery_id));
  return null;
end
$$;

create or replace trigger chaos_settled
after update on openclaw.inbox
for each row
when (
  new.state in ('acked', 'dead', 'expired', 'withdrawn')
  and (new.state, new.delivery_id) is distinct from (old.state, old.delivery_id)
  or old.state in ('acked', 'dead', 'expired', 'withdrawn')
  and new.state <> old.state
)
execute function chaos.note_settled();

create or replace function chaos.note_step()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
  insert into chaos.ledger (what, id, detail)
  select 'step', format('%s/%s', coalesce(new.workflow_uuid, old.workflow_uuid), coalesce(new.function_id, old.function_id)), tg_op;
  return null;
end
$$;

create or replace trigger chaos_step
after insert or update or delete on dbos_system.operation_outputs
for each row
execute function chaos.note_step();

create or replace function chaos.note_outcome()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog
as $$
begin
  insert into chaos.ledger (what, id, detail)
  select 'outcome', coalesce(new.workflow_uuid, old.workflow_uuid), tg_op;
  return null;
end
$$;

create or replace trigger chaos_outcome
after insert or update or delete on dbos_system.workflow_output
for each row
execute function chaos.note_outcome();
