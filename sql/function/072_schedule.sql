-- Schedules (workflow_schedules): each firing enqueues a workflow under an id made of the schedule's
-- name and the time, so whoever else fires it too, on whichever host, fires the same one.

-- The arguments of a workflow that a schedule starts: the time, as a date, and the schedule's
-- context, which is whatever the client that made the schedule wrote, in superjson as a rule.
create or replace function openclaw.schedule_input(p_at bigint, p_context text)
returns text
language plpgsql
immutable
set search_path = pg_catalog
as $$
declare
  v_json text := 'null';
  v_meta jsonb;
  v_value jsonb;
begin
  -- text, not jsonb, for what is handed on: the order of keys and the form of numbers are its owner's
  begin
    v_json := p_context::json::text;
    if json_typeof(p_context::json) = 'object' and p_context::json ->> '__dbos_serializer' = 'superjson' then
      v_json := coalesce((p_context::json -> 'json')::text, 'null');
      v_meta := (p_context::json -> 'meta')::jsonb;
    end if;
  exception
    when data_exception then
      v_json := to_json(p_context)::text;
  end;

  -- what superjson says of a value stands under its path, which now begins with 1
  v_value := jsonb_build_object('0', '["Date"]'::jsonb) || coalesce(
    case jsonb_typeof(v_meta -> 'values')
      when 'array' then jsonb_build_object('1', v_meta -> 'values')
      when 'object' then (
        select jsonb_object_agg('1.' || e.key, e.value)
        from jsonb_each(v_meta -> 'values') as e (key, value)
      )
    end,
    '{}'
  );
  v_value := jsonb_build_object('values', v_value);
  if jsonb_typeof(v_meta -> 'referentialEqualities') = 'object' then
    v_value := v_value || jsonb_build_object('referentialEqualities', (
      select jsonb_object_agg('1.' || e.key, (
        select jsonb_agg('1.' || p.path)
        from jsonb_array_elements_text(e.value) as p (path)
      ))
      from jsonb_each(v_meta -> 'referentialEqualities') as e (key, value)
      where jsonb_typeof(e.value) = 'array'
    ));
  end if;
  return format(
    '{"json":["%s",%s],"meta":%s,"__dbos_serializer":"superjson"}', openclaw.iso(p_at), v_json, v_value
  );
end
$$;

-- Enqueues the workflow of one firing, of the latest version of the schedule's application. False
-- where that was done before.
-- Locks: workflow_status.
create or replace function openclaw.schedule_enqueue(
  p_app text,
  p_legacy boolean,
  p_schedule dbos_system.workflow_schedules,
  p_id text,
  p_at bigint
)
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_app constant text := coalesce(p_schedule.application_name, p_app);
  v_input constant text := openclaw.schedule_input(p_at, p_schedule.context);
begin
  insert into dbos_system.workflow_status (
    workflow_uuid, status, name, class_name, authenticated_user, assumed_role, authenticated_roles,
    executor_id, created_at, updated_at, application_version, application_id, recovery_attempts,
    priority, serialization, application_name, queue_name, schedule_name, inputs
  )
  values (
    p_id, 'ENQUEUED', p_schedule.workflow_name, nullif(p_schedule.workflow_class_name, ''), '', '', '[]',
    '', v_now, v_now, (
      select v.version_name
      from dbos_system.application_versions v
      where v.application_name = v_app
        or v.application_name is null
      order by v.version_timestamp desc
      limit 1
    ), '', 0,
    0, 'js_superjson', v_app, coalesce(nullif(p_schedule.queue_name, ''), '_dbos_internal_queue'),
    p_schedule.schedule_name, case when p_legacy then v_input end
  )
  on conflict (workflow_uuid) do nothing;
  if not found then
    return false;
  end if;
  delete from dbos_system.operation_outputs o
  where o.workflow_uuid = p_id;
  insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
  values (p_id, v_input, v_now)
  on conflict (workflow_uuid) do update
  set inputs = excluded.inputs,
    retention_timestamp = excluded.retention_timestamp;
  return true;
end
$$;

-- When a schedule that is new here, or was changed, or paused, is due first: where it asks for what it
-- missed, after its last firing.
create or replace function openclaw.schedule_begin(p_schedule dbos_system.workflow_schedules, p_now bigint)
returns bigint
language plpgsql
stable
set search_path = pg_catalog
as $$
declare
  v_next bigint;
begin
  perform openclaw.cron_check(p_schedule.schedule, p_schedule.cron_timezone);
  v_next := openclaw.cron_next(p_schedule.schedule, p_schedule.cron_timezone, case
    when p_schedule.automatic_backfill and p_schedule.last_fired_at is not null
      then (extract(epoch from p_schedule.last_fired_at::timestamptz) * 1000)::bigint
    else p_now
  end);
  if v_next is null then
    raise exception 'the schedule "%" never comes', p_schedule.schedule
      using errcode = 'OC005';
  end if;
  return v_next;
end
$$;

-- Fires what is due of the active schedules of this application, and of nobody's schedules of
-- workflows that this program knows (p_name); at most p_limit of each schedule. What was due while
-- no gateway ran is made up for where the schedule says so (automatic_backfill); of any other the last
-- five minutes' firings are, and no older ones. A schedule that was paused, or changed, goes on from
-- now. One that cannot be fired is named in `failed`, once, and looked at again when it is changed;
-- one that something else keeps from being fired, a little later.
-- Locks: workflow_schedules, skipping what others hold, then workflow_status.
create or replace function openclaw.schedule_fire(
  p_app text,
  p_legacy boolean,
  p_name text[],
  p_limit integer
)
returns table (fired bigint, more boolean, failed text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_grace constant bigint := 300000;
  v_put_off constant bigint := 10000;
  v_now constant bigint := openclaw.now_ms();
  v_due record;
  v_schedule dbos_system.workflow_schedules;
  v_known openclaw.schedule;
  v_next bigint;
  v_last bigint;
  v_tries integer;
  v_made integer;
  v_fired bigint := 0;
  v_more boolean := false;
  v_failed text[] := '{}';
begin
  delete from openclaw.schedule o
  where not exists (
    select
    from dbos_system.workflow_schedules s
    where s.schedule_name = o.schedule_name
      and s.status = 'ACTIVE'
  );

  for v_due in
    select s as schedule, d.definition
    from dbos_system.workflow_schedules s
    left join openclaw.schedule o on o.schedule_name = s.schedule_name
    cross join lateral (
      select jsonb_build_array(s.schedule_id, s.schedule, s.cron_timezone)::text as definition
    ) d
    where s.status = 'ACTIVE'
      and (s.application_name = p_app or s.application_name is null)
      and s.workflow_name = any (p_name)
      and coalesce(o.look_at, 0) <= v_now
      and (o.next_at <= v_now or o.definition is distinct from d.definition)
    order by s.schedule_name
    for no key update of s skip locked
  loop
    v_schedule := v_due.schedule;
    -- as it is now that the row is ours: another sweeper may just have fired it
    select o.*
    into v_known
    from openclaw.schedule o
    where o.schedule_name = v_schedule.schedule_name;
    v_known.definition := nullif(v_known.definition, '');
    v_last := null;
    v_tries := 0;
    v_made := 0;
    begin
      if v_known.definition is distinct from v_due.definition then
        v_next := openclaw.schedule_begin(v_schedule, v_now);
      elsif v_known.next_at >= v_now - v_grace or v_schedule.automatic_backfill then
        v_next := v_known.next_at;
      else
        v_next := openclaw.cron_next(v_schedule.schedule, v_schedule.cron_timezone, v_now - v_grace);
      end if;

      while v_next <= v_now and v_tries < p_limit loop
        v_tries := v_tries + 1;
        v_made := v_made + openclaw.schedule_enqueue(
          p_app, p_legacy, v_schedule,
          format('sched-%s-%s', v_schedule.schedule_name, openclaw.iso(v_next)), v_next
        )::integer;
        v_last := v_next;
        v_next := openclaw.cron_next(v_schedule.schedule, v_schedule.cron_timezone, v_next);
      end loop;

      update dbos_system.workflow_schedules s
      set last_fired_at = openclaw.iso(v_last)
      where s.schedule_name = v_schedule.schedule_name
        and v_last is not null;
      insert into openclaw.schedule (schedule_name, definition, next_at, look_at)
      values (v_schedule.schedule_name, v_due.definition, v_next, v_now)
      on conflict (schedule_name) do update
      set definition = excluded.definition,
        next_at = excluded.next_at,
        look_at = excluded.look_at,
        fault = null;
      v_fired := v_fired + v_made;
      v_more := v_more or coalesce(v_next <= v_now, false);
    exception
      when sqlstate 'OC005' or data_exception then
        v_failed := v_failed || format('%s: %s (%s)', v_schedule.schedule_name, sqlerrm, sqlstate);
        insert into openclaw.schedule (schedule_name, definition, look_at, fault)
        values (v_schedule.schedule_name, v_due.definition, v_now, sqlerrm)
        on conflict (schedule_name) do update
        set definition = excluded.definition,
          next_at = null,
          look_at = excluded.look_at,
          fault = excluded.fault;
      when others then
        v_failed := v_failed || format('%s: %s (%s)', v_schedule.schedule_name, sqlerrm, sqlstate);
        insert into openclaw.schedule (schedule_name, definition, look_at, fault)
        values (v_schedule.schedule_name, '', v_now + v_put_off, sqlerrm)
        on conflict (schedule_name) do update
        set look_at = excluded.look_at,
          fault = excluded.fault;
    end;
  end loop;

  return query select v_fired, v_more, v_failed[1:10];
end
$$;
