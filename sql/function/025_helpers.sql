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

-- A time of the server's as now_ms() tells it.
create or replace function openclaw.ms_of(p_at timestamptz)
returns bigint
language sql
stable
parallel safe
as $$ select (extract(epoch from p_at) * 1000)::bigint $$;

-- Since when a message that is not settled waits: since it was due first. What has been tried has lost that
-- time, so its delay counts. Null: it is not due yet.
create or replace function openclaw.waits_since(p_attempt integer, p_accepted bigint, p_due bigint, p_now bigint)
returns bigint
language sql
immutable
parallel safe
as $$
  select case
    when p_attempt > 0 then p_accepted
    when p_due <= p_now then p_due
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

-- The place in the inbox that the checkpoint of a step which sent a message names; null: none, as in
-- that of another application's step of the same name.
create or replace function openclaw.sent_seq(p_output text)
returns bigint
language sql
immutable
parallel safe
as $$
  select pg_catalog.substring(p_output, '"inboxSeq":([0-9]{1,18})}$')::bigint
$$;

-- What a request for a message means: what it leaves out is what it gets. p_ttl: the time to live
-- of one that names none.
create or replace function openclaw.message_meaning(p_input jsonb, p_ttl bigint)
returns jsonb
language sql
immutable
parallel safe
as $$
  select
    pg_catalog.jsonb_build_object('delayMs', 0, 'priority', 0, 'metadata', '{}'::jsonb, 'ttlMs', p_ttl)
    || (p_input - array['timestamp', 'expectsReply', 'traceparent'])
    || pg_catalog.jsonb_build_object(
      'sessionKey',
      coalesce(
        nullif(p_input ->> 'sessionKey', 'agent:' || (p_input ->> 'to')),
        'agent:' || (p_input ->> 'to') || ':main'
      )
    )
$$;

-- Are two requests under one idempotency key the same? The time a client stamps on a retry is not
-- part of the request, nor is how it waits for what becomes of it. Messages are compared by what
-- they mean; p_ttl is the time to live of the one that is given now.
create or replace function openclaw.input_equal(
  p_id text,
  p_name text,
  p_serialization text,
  p_stored text,
  p_given text,
  p_ttl bigint
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog
as $$
declare
  v_stored jsonb;
  v_given jsonb;
  v_ttl bigint;
begin
  if p_stored = p_given then
    return true;
  end if;
  if p_serialization is distinct from 'portable_json' then
    return false;
  end if;
  v_stored := p_stored::jsonb #> '{positionalArgs,0}';
  v_given := p_given::jsonb #> '{positionalArgs,0}';
  if p_name <> 'routeAgentMessage' or jsonb_typeof(v_stored) <> 'object' or jsonb_typeof(v_given) <> 'object' then
    return p_stored::jsonb #- '{positionalArgs,0,timestamp}' #- '{positionalArgs,0,expectsReply}'
        #- '{positionalArgs,0,traceparent}'
      = p_given::jsonb #- '{positionalArgs,0,timestamp}' #- '{positionalArgs,0,expectsReply}'
        #- '{positionalArgs,0,traceparent}';
  end if;

  -- one that names no time to live has what was the gateway's then; where both name none, that may differ
  if v_given ? 'ttlMs' and not v_stored ? 'ttlMs' then
    v_ttl := (
      select i.expires_at - i.accepted_at
      from dbos_system.operation_outputs c
      join openclaw.inbox i on i.inbox_seq = openclaw.sent_seq(c.output)
      where c.workflow_uuid = p_id
        and c.function_name = 'storeMessage'
      order by c.function_id
      limit 1
    );
  elsif v_stored ? 'ttlMs' then
    v_ttl := p_ttl;
  end if;
  return openclaw.message_meaning(v_stored, v_ttl) = openclaw.message_meaning(v_given, v_ttl);
exception
  -- a DBOS client may have stored what jsonb cannot hold, and the gateway then would not have taken
  when data_exception or program_limit_exceeded then
    return false;
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

-- JSON text without what jsonb and UTF-8 cannot hold: U+FFFD stands for \u0000 and for half of a surrogate
-- pair. An escaped backslash, and a whole pair, step aside meanwhile as characters that JSON never has.
create or replace function openclaw.json_holdable(p_text text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when p_text !~ '\\u(0000|[dD][89a-fA-F])' then p_text
    else pg_catalog.replace(
      pg_catalog.regexp_replace(
        pg_catalog.regexp_replace(
          pg_catalog.regexp_replace(
            pg_catalog.replace(p_text, '\\', pg_catalog.chr(1)),
            '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})',
            pg_catalog.chr(2) || '\1' || pg_catalog.chr(3) || '\2', 'g'
          ),
          '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g'
        ),
        pg_catalog.chr(2) || '(.{4})' || pg_catalog.chr(3), '\\u\1\\u', 'g'
      ),
      pg_catalog.chr(1), '\\'
    )
  end
$$;

-- A value that another program stored, as JSON text. What cannot be taken apart (broken JSON) becomes a
-- string, as it is stored: others' data never raises.
create or replace function openclaw.decode_value(p_serialization text, p_stored text)
returns text
language plpgsql
immutable
set search_path = pg_catalog
as $$
begin
  return case p_serialization
    when 'portable_json' then openclaw.json_holdable(p_stored)::json::text
    when 'js_superjson' then coalesce(
      (openclaw.json_holdable(p_stored)::json -> 'json')::text,
      case when p_stored is not null then 'null' end
    )
    else to_json(p_stored)::text
  end;
exception
  when data_exception or program_limit_exceeded then
    return to_json(p_stored)::text;
end
$$;

-- The recipient's answer in what the workflow of a message ended with, as message_settle writes it; null:
-- none. By its place in the text, for what stands in the answer no cast may ever meet: in no string
-- before it can a quote follow a comma unescaped.
create or replace function openclaw.reply_of(p_result text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when pg_catalog.strpos(p_result, ',"response":') > 0 then
      pg_catalog.left(pg_catalog.substr(p_result, pg_catalog.strpos(p_result, ',"response":') + 12), -1)
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
-- takes these locks, so that none waits for another in a circle. That is the order of delivery, because
-- a claim finds its rows by it. (Two of one rank are ten thousand messages apart for each step of their
-- priorities; should a claim take such a pair the other way round, one of the two is told 40P01 and
-- tries again.)
-- Locks: workflow_status in the order of ids, inbox in the order of rank.
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
  order by i.rank, i.inbox_seq
  for update;
end
$$;

-- Of a workflow's attributes those by which a request is followed: what it starts has them, too.
create or replace function openclaw.trace_of(p_attributes jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog
as $$
  select nullif(
    jsonb_strip_nulls(jsonb_build_object(
      'traceparent', p_attributes -> 'traceparent',
      'traceId', p_attributes -> 'traceId',
      'requestId', p_attributes -> 'requestId'
    )),
    '{}'
  )
$$;
