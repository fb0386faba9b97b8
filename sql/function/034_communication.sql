-- What workflows say to each other, in DBOS' own steps: send and recv, events, streams, sleep,
-- child workflows and their results. Effect and checkpoint are one: each function writes both, and
-- finds its checkpoint where it is called again. The step_* functions are called in a transaction
-- that has called workflow_fence before; their answer is the checkpoint.

create or replace function openclaw.step_find(p_id text, p_step integer)
returns table (output text, serialization text)
language sql
stable
set search_path = pg_catalog
as $$
  select o.output, o.serialization
  from dbos_system.operation_outputs o
  where o.workflow_uuid = p_id
    and o.function_id = p_step
$$;

-- The checkpoint of a step whose effect is this statement's: it began with it.
create or replace function openclaw.step_record(
  p_id text,
  p_step integer,
  p_name text,
  p_output text,
  p_error text,
  p_serialization text,
  p_child text,
  p_app text,
  p_completed bigint
)
returns void
language sql
set search_path = pg_catalog
as $$
  insert into dbos_system.operation_outputs (
    workflow_uuid, function_id, function_name, output, error, child_workflow_id,
    started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp
  )
  select
    p_id, p_step, p_name, p_output, p_error, p_child,
    openclaw.ms_of(statement_timestamp()), coalesce(p_completed, n.now), p_serialization, p_app, n.now
  from openclaw.now_ms() as n (now)
$$;

-- DBOS.send: a message to any workflow; to `agent:<id>` it is one to that agent.
-- Locks: workflow_status of the destination (key share), then as inbox_feed.
create or replace function openclaw.step_send(
  p_id text,
  p_step integer,
  p_app text,
  p_destination text,
  p_topic text,
  p_message text
)
returns table (output text, serialization text)
language plpgsql
set search_path = pg_catalog
as $$
begin
  return query select * from openclaw.step_find(p_id, p_step);
  if found then
    return;
  end if;
  begin
    insert into dbos_system.notifications (
      destination_uuid, topic, message, created_at_epoch_ms, message_uuid, serialization
    )
    values (
      p_destination, coalesce(p_topic, '__null__topic__'), p_message, openclaw.now_ms(),
      gen_random_uuid()::text, 'portable_json'
    );
  exception
    when foreign_key_violation then
      raise exception 'there is no workflow %', p_destination
        using errcode = 'OC002';
  end;
  perform openclaw.step_record(p_id, p_step, 'DBOS.send', null, null, 'portable_json', null, p_app, null);
  return query select null::text, 'portable_json';
end
$$;

-- DBOS.sleep: its output is the time of waking, and that is when the step is complete.
create or replace function openclaw.step_sleep(p_id text, p_step integer, p_app text, p_ms bigint)
returns table (output text, serialization text)
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_wake constant bigint := openclaw.now_ms() + p_ms;
begin
  return query select * from openclaw.step_find(p_id, p_step);
  if found then
    return;
  end if;
  perform openclaw.step_record(
    p_id, p_step, 'DBOS.sleep', v_wake::text, null, 'portable_json', null, p_app, v_wake
  );
  return query select v_wake::text, 'portable_json';
end
$$;

-- Appends to a stream, without a gap whoever else appends. p_name is DBOS.writeStream or
-- DBOS.closeStream; null where the enclosing step has the checkpoint.
create or replace function openclaw.step_stream(
  p_id text,
  p_step integer,
  p_app text,
  p_name text,
  p_key text,
  p_value text
)
returns table (output text, serialization text)
language plpgsql
set search_path = pg_catalog
as $$
begin
  if p_name is not null then
    return query select * from openclaw.step_find(p_id, p_step);
    if found then
      return;
    end if;
  end if;
  loop
    begin
      insert into dbos_system.streams (workflow_uuid, key, value, "offset", function_id, serialization)
      select p_id, p_key, p_value, coalesce(max(s."offset"), -1) + 1, p_step, 'portable_json'
      from dbos_system.streams s
      where s.workflow_uuid = p_id
        and s.key = p_key;
      exit;
    exception
      when unique_violation then
        null; -- somebody else has just taken this place
    end;
  end loop;
  if p_name is not null then
    perform openclaw.step_record(p_id, p_step, p_name, null, null, 'portable_json', null, p_app, null);
  end if;
  return query select null::text, 'portable_json';
end
$$;

-- Starts another workflow, of this application or of another one (p_child_app), in a queue. The
-- child's row and the parent's step are there together or not at all. It ends by the parent's
-- deadline. Under an id that is taken, the same workflow is that one.
create or replace function openclaw.step_child(
  p_id text,
  p_step integer,
  p_app text,
  p_version text,
  p_legacy boolean,
  p_child text,
  p_name text,
  p_child_app text,
  p_queue text,
  p_input text
)
returns table (output text, serialization text)
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_name text;
begin
  return query select * from openclaw.step_find(p_id, p_step);
  if found then
    return;
  end if;
  insert into dbos_system.workflow_status (
    workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
    created_at, updated_at, application_version, application_id, recovery_attempts,
    priority, serialization, application_name, creator_xid, queue_name,
    parent_workflow_id, workflow_deadline_epoch_ms, inputs, attributes
  )
  select
    p_child, 'ENQUEUED', p_name, p.authenticated_user, '', '',
    v_now, v_now, case when p_child_app = p_app then p_version end, '', 0,
    0, 'portable_json', p_child_app, gen_random_uuid()::text, p_queue,
    p_id, p.workflow_deadline_epoch_ms, case when p_legacy then p_input end,
    openclaw.trace_of(p.attributes)
  from dbos_system.workflow_status p
  where p.workflow_uuid = p_id
  on conflict (workflow_uuid) do nothing;
  if found then
    delete from dbos_system.operation_outputs o
    where o.workflow_uuid = p_child;
    insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
    values (p_child, p_input, v_now)
    on conflict (workflow_uuid) do update
    set inputs = excluded.inputs,
      retention_timestamp = excluded.retention_timestamp;
  else
    select s.name
    into v_name
    from dbos_system.workflow_status s
    where s.workflow_uuid = p_child;
    if v_name is distinct from p_name then
      raise exception 'the workflow % is %, not %', p_child, v_name, p_name
        using errcode = 'OC006';
    end if;
  end if;
  perform openclaw.step_record(p_id, p_step, p_name, null, null, 'portable_json', p_child, p_app, null);
  return query select null::text, 'portable_json';
end
$$;

-- Parks a workflow until what it waits for is there (waiting_wake), p_until at the latest; the caller is
-- its owner (workflow_fence).
-- Locks: workflow_status.
create or replace function openclaw.workflow_park(
  p_id text,
  p_kind text,
  p_target text,
  p_key text,
  p_until bigint
)
returns void
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  delete from openclaw.waiting w
  where w.workflow_uuid = p_id;
  insert into openclaw.waiting (workflow_uuid, kind, target, key)
  values (p_id, p_kind, p_target, coalesce(p_key, ''));

  update dbos_system.workflow_status s
  set status = 'DELAYED',
    owner_xid = null,
    executor_id = '',
    recovery_attempts = 0,
    delay_until_epoch_ms = p_until,
    updated_at = openclaw.now_ms()
  where s.workflow_uuid = p_id;
end
$$;

-- Takes what a workflow waits for, or parks the workflow until it is there: DBOS.recv (p_target is
-- the workflow itself, p_key the topic), DBOS.getEvent (p_key of p_target), DBOS.getResult (of
-- p_target). The time limit counts from the first call, which writes it down as step p_marker;
-- without a limit p_marker is null. A parked workflow is looked at every ten minutes whatever comes.
--
--   taken    output or error, in this serialization; the step is recorded
--   timeout  the step is recorded as null
--   parked   DELAYED, and no longer this owner's
--
-- Locks: workflow_status.
create or replace function openclaw.workflow_await(
  p_id text,
  p_token text,
  p_app text,
  p_kind text,
  p_step integer,
  p_marker integer,
  p_target text,
  p_key text,
  p_timeout_ms bigint
)
returns table (state text, output text, error text, serialization text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_look_again constant bigint := 600000;
  v_wake bigint;
  v_output text;
  v_error text;
  v_serialization text;
  v_status text;
  v_taken boolean;
begin
  perform openclaw.workflow_fence(p_id, p_token);

  select o.output, o.error, o.serialization
  into v_output, v_error, v_serialization
  from dbos_system.operation_outputs o
  where o.workflow_uuid = p_id
    and o.function_id = p_step;
  if found then
    return query select 'taken', v_output, v_error, v_serialization;
    return;
  end if;

  if p_kind = 'DBOS.recv' then
    update dbos_system.notifications n
    set consumed = true,
      consumed_by_function_id = p_step
    where n.message_uuid = (
      select m.message_uuid
      from dbos_system.notifications m
      where m.destination_uuid = p_target
        and m.topic = p_key
        and not m.consumed
      order by m.created_at_epoch_ms, m.message_uuid
      limit 1
      for update
    )
    returning n.message, n.serialization
    into v_output, v_serialization;
    v_taken := found;
  elsif p_kind = 'DBOS.getEvent' then
    select e.value, e.serialization
    into v_output, v_serialization
    from dbos_system.workflow_events e
    where e.workflow_uuid = p_target
      and e.key = p_key;
    v_taken := found;
  else
    select s.status, s.serialization, coalesce(o.output, s.output), coalesce(o.error, s.error)
    into v_status, v_serialization, v_output, v_error
    from dbos_system.workflow_status s
    left join dbos_system.workflow_output o using (workflow_uuid)
    where s.workflow_uuid = p_target;
    if not found then
      v_error := format('{"name":"NonExistentWorkflow","message":%s,"code":"NOT_FOUND"}',
        to_json('there is no workflow ' || p_target));
      v_serialization := 'portable_json';
    elsif v_status in ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') then
      v_error := format('{"name":"AwaitedWorkflowEnded","message":%s,"code":"CANCELLED","data":%s}',
        to_json('the workflow ' || p_target || ' has no result: ' || v_status), to_json(v_status));
      v_output := null;
      v_serialization := 'portable_json';
    end if;
    v_taken := coalesce(v_status, 'gone') not in ('ENQUEUED', 'PENDING', 'DELAYED');
  end if;

  if v_taken then
    perform openclaw.step_record(
      p_id, p_step, p_kind, v_output, v_error, coalesce(v_serialization, 'portable_json'),
      case p_kind when 'DBOS.getResult' then p_target end, p_app, null
    );
    return query select 'taken', v_output, v_error, coalesce(v_serialization, 'portable_json');
    return;
  end if;

  if p_marker is not null then
    select coalesce(substring(o.output, '^[0-9]{1,18}$')::bigint, v_now)
    into v_wake
    from dbos_system.operation_outputs o
    where o.workflow_uuid = p_id
      and o.function_id = p_marker;
    if not found then
      v_wake := v_now + p_timeout_ms;
      perform openclaw.step_record(
        p_id, p_marker, 'DBOS.sleep', v_wake::text, null, 'portable_json', null, p_app, v_now
      );
    end if;
    if v_wake <= v_now then
      perform openclaw.step_record(p_id, p_step, p_kind, null, null, 'portable_json', null, p_app, null);
      return query select 'timeout', null::text, null::text, 'portable_json';
      return;
    end if;
  end if;

  perform openclaw.workflow_park(p_id, p_kind, p_target, p_key, least(v_wake, v_now + v_look_again));
  return query select 'parked', null::text, null::text, null::text;
end
$$;

-- Parked workflows for which there is now what they wait for become claimable, and what says that
-- they wait goes.
-- Locks: workflow_status in the order of ids, skipping what others hold.
create or replace function openclaw.waiting_wake(p_app text, p_limit integer)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_woken bigint;
begin
  if not exists (select from openclaw.waiting) then
    return 0;
  end if;

  with ready as (
    select s.workflow_uuid
    from openclaw.waiting w
    join dbos_system.workflow_status s on s.workflow_uuid = w.workflow_uuid
    where s.status = 'DELAYED'
      and s.application_name = p_app
      and case w.kind
        when 'DBOS.recv' then exists (
          select
          from dbos_system.notifications n
          where n.destination_uuid = w.target
            and n.topic = w.key
            and not n.consumed
        )
        when 'DBOS.getEvent' then exists (
          select
          from dbos_system.workflow_events e
          where e.workflow_uuid = w.target
            and e.key = w.key
        )
        else not exists (
          select
          from dbos_system.workflow_status t
          where t.workflow_uuid = w.target
            and t.status in ('ENQUEUED', 'PENDING', 'DELAYED')
        )
      end
    order by s.workflow_uuid
    limit p_limit
    for no key update of s skip locked
  )
  update dbos_system.workflow_status s
  set status = 'ENQUEUED',
    queue_name = openclaw.wake_queue(s.queue_name, s.queue_partition_key, s.started_at_epoch_ms),
    updated_at = openclaw.now_ms()
  from ready r
  where s.workflow_uuid = r.workflow_uuid;
  get diagnostics v_woken = row_count;

  delete from openclaw.waiting w
  where not exists (
    select
    from dbos_system.workflow_status s
    where s.workflow_uuid = w.workflow_uuid
      and s.status = 'DELAYED'
  );
  return v_woken;
end
$$;

-- A delay is for who has not begun (DBOS.setWorkflowDelay). Who sleeps, or waits, is DELAYED here too, but
-- running in DBOS' terms: there, as there, its time to wake is its own.
create or replace function openclaw.wake_keep()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
  update dbos_system.workflow_status s
  set delay_until_epoch_ms = old.delay_until_epoch_ms
  where s.workflow_uuid = old.workflow_uuid;
  return null;
end
$$;

create or replace trigger openclaw_wake_kept
after update of delay_until_epoch_ms on dbos_system.workflow_status
for each row
when (
  old.status = 'DELAYED'
  and new.status = 'DELAYED'
  and (
    old.started_at_epoch_ms is not null
    or old.queue_name is null and (old.recovery_attempts > 0 or old.name in ('agent', 'routeAgentMessage'))
  )
  and pg_trigger_depth() = 0
  and current_setting('openclaw.writer', true) is distinct from 'gateway'
)
execute function openclaw.wake_keep();

-- The queue in which a parked workflow wakes: its own, or, where that was deleted meanwhile or has
-- partitions now and it has none, the internal one. To DBOS it runs, and no change of a queue stops that.
create or replace function openclaw.wake_queue(p_queue text, p_partition text, p_started bigint)
returns text
language sql
stable
as $$
  select case
    when p_started is null then coalesce(p_queue, '_dbos_internal_queue')
    when exists (
      select
      from dbos_system.queues q
      where q.name = p_queue
        and (
          p_partition is not null
          or not q.partition_queue
            and pg_catalog.num_nonnulls(
              q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit_max
            ) = 0
        )
    ) then p_queue
    else '_dbos_internal_queue'
  end
$$;
