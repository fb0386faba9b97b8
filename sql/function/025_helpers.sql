-- Small functions that the transitions share.

-- The id by which sender and recipient know a message: the sender's own key where it gave one.
create or replace function openclaw.message_id(p_sender text, p_message_uuid text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when pg_catalog.starts_with(p_message_uuid, p_sender || ':')
      then pg_catalog.substr(p_message_uuid, pg_catalog.length(p_sender) + 2)
    else p_message_uuid
  end
$$;

-- Milliseconds since 1970 as RFC 3339 text in UTC, the form of dates in portable JSON.
create or replace function openclaw.iso(p_ms bigint)
returns text
language sql
stable
parallel safe
as $$
  select pg_catalog.to_char(
    pg_catalog.to_timestamp(p_ms / 1000.0) at time zone 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
  )
$$;

-- Are two requests under one idempotency key the same? The time a client stamps on a retry is not
-- part of the request, nor is how it waits for what becomes of it.
create or replace function openclaw.input_equal(p_serialization text, p_stored text, p_given text)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog
as $$
begin
  if p_stored = p_given then
    return true;
  end if;
  if p_serialization is distinct from 'portable_json' then
    return false;
  end if;
  return p_stored::jsonb #- '{positionalArgs,0,timestamp}' #- '{positionalArgs,0,expectsReply}'
      #- '{positionalArgs,0,traceparent}'
    = p_given::jsonb #- '{positionalArgs,0,timestamp}' #- '{positionalArgs,0,expectsReply}'
      #- '{positionalArgs,0,traceparent}';
end
$$;

-- How many more messages an inbox takes. Exact where the limit is 5000 or less, or is near: those who
-- send to the inbox then take turns until they have committed. Above that, while the sweeper's last
-- count, at most five seconds old, is further from the limit than that, an accept counts nothing: what
-- many senders bring within those seconds may exceed the limit once.
-- Locks: the inbox's advisory lock; a caller with several inboxes asks in the order of their ids,
-- before it locks anything else.
create or replace function openclaw.inbox_room(p_agent text, p_limit bigint)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog
as $$
declare
  v_margin constant bigint := 5000;
  v_depth bigint;
begin
  if p_limit > v_margin then
    select d.depth
    into v_depth
    from openclaw.inbox_depth d
    where d.agent_id = p_agent
      and d.counted_at > openclaw.now_ms() - 5000;
    if v_depth + v_margin < p_limit then
      return v_margin;
    end if;
  end if;

  perform pg_advisory_xact_lock(hashtextextended('openclaw.inbox:' || p_agent, 0));
  select count(*)
  into v_depth
  from (
    select
    from openclaw.inbox i
    where i.agent_id = p_agent
      and i.state = 'ready'
    union all
    select
    from openclaw.inbox i
    where i.agent_id = p_agent
      and i.state = 'leased'
    limit p_limit
  ) live;
  return p_limit - v_depth;
end
$$;

-- Sets workflow events: the latest value, and its history by step (DBOS.setEvent). Where one call
-- sets a key twice the last counts.
create or replace function openclaw.workflow_event(
  p_id text[],
  p_step integer[],
  p_key text[],
  p_value text[]
)
returns void
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
  select distinct on (e.id, e.key) e.id, e.key, e.value, 'portable_json'
  from unnest(p_id, p_key, p_value) with ordinality as e (id, key, value, ord)
  order by e.id, e.key, e.ord desc
  on conflict (workflow_uuid, key) do update
  set value = excluded.value,
    serialization = excluded.serialization;

  insert into dbos_system.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
  select distinct on (e.id, e.step, e.key) e.id, e.step, e.key, e.value, 'portable_json'
  from unnest(p_id, p_step, p_key, p_value) with ordinality as e (id, step, key, value, ord)
  order by e.id, e.step, e.key, e.ord desc
  on conflict (workflow_uuid, function_id, key) do update
  set value = excluded.value,
    serialization = excluded.serialization;
end
$$;

-- A portable JSON value, or error, in the serialization of the workflow's row, so that the client
-- that started it can read it: what came as superjson (a native TypeScript client) goes back so.
create or replace function openclaw.encode_value(p_serialization text, p_value text)
returns text
language sql
immutable
parallel safe
as $$
  select case p_serialization
    when 'js_superjson' then '{"json":' || p_value || ',"__dbos_serializer":"superjson"}'
    else p_value
  end
$$;

create or replace function openclaw.encode_error(p_serialization text, p_error text)
returns text
language sql
immutable
parallel safe
as $$
  select case p_serialization
    when 'js_superjson' then
      pg_catalog.format(
        '{"json":{"name":%s,"message":%s,"stack":""},"__dbos_serializer":"superjson"}',
        p_error::json -> 'name',
        p_error::json -> 'message'
      )
    else p_error
  end
$$;

-- A value that another program stored, as JSON text. What cannot be taken apart (broken JSON, an
-- escape that PostgreSQL's text cannot hold, such as \u0000) becomes a string, as it is stored: others'
-- data never raises.
create or replace function openclaw.decode_value(p_serialization text, p_stored text)
returns text
language plpgsql
immutable
set search_path = pg_catalog
as $$
begin
  return case p_serialization
    when 'portable_json' then p_stored::json::text
    when 'js_superjson' then (p_stored::json -> 'json')::text
    else to_json(p_stored)::text
  end;
exception
  when data_exception or program_limit_exceeded then
    return to_json(p_stored)::text;
end
$$;

-- The message of an error that another program stored; what cannot be taken apart, as it is stored.
create or replace function openclaw.decode_error(p_serialization text, p_stored text)
returns text
language plpgsql
immutable
set search_path = pg_catalog
as $$
begin
  return case p_serialization
    when 'portable_json' then p_stored::json ->> 'message'
    when 'js_superjson' then p_stored::json -> 'json' ->> 'message'
  end;
exception
  when data_exception or program_limit_exceeded then
    return p_stored;
end
$$;

-- The first statement of a transaction with effects: they are committed by the workflow's owner or
-- not at all.
-- Locks: workflow_status.
create or replace function openclaw.workflow_fence(p_id text, p_token text)
returns void
language plpgsql
set search_path = pg_catalog
as $$
begin
  perform
  from dbos_system.workflow_status s
  where s.workflow_uuid = p_id
    and s.owner_xid = p_token
    and s.status = 'PENDING'
  for no key update;
  if not found then
    raise exception 'another executor owns the workflow %, or it was cancelled', p_id
      using errcode = 'OC001';
  end if;
end
$$;

-- Locks messages for a transition that settles or retries them, in the one order in which everybody
-- takes these locks, so that none waits for another in a circle.
-- Locks: workflow_status in the order of ids, inbox in the order of inbox_seq.
create or replace function openclaw.message_lock(p_seq bigint[])
returns void
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  perform
  from dbos_system.workflow_status s
  where s.workflow_uuid in (
    select i.workflow_uuid
    from openclaw.inbox i
    where i.inbox_seq = any (p_seq)
  )
  order by s.workflow_uuid
  for no key update;

  perform
  from openclaw.inbox i
  where i.inbox_seq = any (p_seq)
  order by i.inbox_seq
  for update;
end
$$;
