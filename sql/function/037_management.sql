-- What people and programs do to workflows: the same changes of the rows as DBOS' clients make. A
-- workflow that runs notices at its next checkpoint, because its owner's token is gone.
-- Mailboxes (name `agent`) are entities, not work: nothing here changes one.

-- These workflows, with all that descend from them where p_children.
create or replace function openclaw.workflow_family(p_id text[], p_children boolean)
returns text[]
language sql
stable
set search_path = pg_catalog
set enable_seqscan = off
as $$
  with recursive family (id) as (
    select unnest(p_id)
    union
    select s.workflow_uuid
    from family f
    join dbos_system.workflow_status s on s.parent_workflow_id = f.id
    where p_children
  )
  select array_agg(f.id order by f.id)
  from family f
$$;

-- Cancels what has not ended. A message that such a workflow carries is withdrawn with it.
-- Locks: workflow_status in the order of ids, inbox in the order of rank.
create or replace function openclaw.workflow_cancel(p_id text[], p_children boolean)
returns table (cancelled text[], bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_cancelled text[];
  v_waiters text[];
begin
  with live as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.workflow_uuid = any (openclaw.workflow_family(p_id, p_children))
      and s.status not in ('SUCCESS', 'ERROR', 'CANCELLED')
      and s.name <> 'agent'
    order by s.workflow_uuid
    for no key update
  ),
  ended as (
    update dbos_system.workflow_status s
    set status = 'CANCELLED',
      owner_xid = null,
      queue_name = null,
      deduplication_id = null,
      started_at_epoch_ms = null,
      updated_at = v_now,
      completed_at = v_now
    from live l
    where s.workflow_uuid = l.workflow_uuid
    returning s.workflow_uuid
  )
  select coalesce(array_agg(e.workflow_uuid order by e.workflow_uuid), '{}')
  into v_cancelled
  from ended e;

  select w.waiters
  into v_waiters
  from openclaw.message_withdraw(openclaw.carried(v_cancelled), 'its workflow was cancelled') w;

  return query
  select v_cancelled, array(
    select x.host || '/' || x.executor_id
    from openclaw.executor x
    where x.executor_id = any (v_waiters)
  );
end
$$;

-- Lets what was cancelled, given up or is under way run again from its last checkpoint; what has
-- ended with a result stays as it is.
-- Locks: workflow_status in the order of ids.
create or replace function openclaw.workflow_resume(p_id text[], p_queue text)
returns text[]
language sql
set search_path = pg_catalog
as $$
  with live as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.workflow_uuid = any (p_id)
      and s.status not in ('SUCCESS', 'ERROR')
      and s.name <> 'agent'
    order by s.workflow_uuid
    for no key update
  ),
  resumed as (
    update dbos_system.workflow_status s
    set status = 'ENQUEUED',
      owner_xid = null,
      queue_name = coalesce(p_queue, '_dbos_internal_queue'),
      recovery_attempts = 0,
      workflow_deadline_epoch_ms = null,
      deduplication_id = null,
      started_at_epoch_ms = null,
      completed_at = null,
      updated_at = openclaw.now_ms()
    from live l
    where s.workflow_uuid = l.workflow_uuid
    returning s.workflow_uuid
  )
  select coalesce(array_agg(r.workflow_uuid order by r.workflow_uuid), '{}')
  from resumed r
$$;

-- A new workflow that has the past of another up to a step, and runs on from there. p_attributes are
-- added to the origin's. Called again with the same new id it changes nothing.
-- Locks: workflow_status of the origin.
create or replace function openclaw.workflow_fork(
  p_id text,
  p_step integer,
  p_new_id text,
  p_version text,
  p_queue text,
  p_app text,
  p_attributes jsonb
)
returns text
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_new constant text := coalesce(p_new_id, gen_random_uuid()::text);
  v_origin text;
begin
  update dbos_system.workflow_status s
  set was_forked_from = true
  where s.workflow_uuid = p_id
    and s.name <> 'agent';
  if not found then
    raise exception 'there is no workflow %', p_id
      using errcode = 'OC002';
  end if;

  insert into dbos_system.workflow_status (
    workflow_uuid, status, name, class_name, config_name, authenticated_user, assumed_role,
    authenticated_roles, executor_id, created_at, updated_at, application_version, application_id,
    recovery_attempts, priority, serialization, application_name, attributes, forked_from, queue_name,
    creator_xid, inputs
  )
  select
    v_new, 'ENQUEUED', s.name, s.class_name, s.config_name, s.authenticated_user, s.assumed_role,
    s.authenticated_roles, '', v_now, v_now, coalesce(p_version, s.application_version), s.application_id,
    0, 0, s.serialization, coalesce(s.application_name, p_app),
    case when p_attributes is null then s.attributes else coalesce(s.attributes, '{}') || p_attributes end, p_id,
    coalesce(p_queue, '_dbos_internal_queue'), gen_random_uuid()::text, s.inputs
  from dbos_system.workflow_status s
  where s.workflow_uuid = p_id
  on conflict (workflow_uuid) do nothing;
  if not found then
    select s.forked_from
    into v_origin
    from dbos_system.workflow_status s
    where s.workflow_uuid = v_new;
    if v_origin is distinct from p_id then
      raise exception 'the workflow % is there already', v_new
        using errcode = 'OC006';
    end if;
    return v_new;
  end if;

  delete from dbos_system.operation_outputs o
  where o.workflow_uuid = v_new;

  insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
  select v_new, coalesce(i.inputs, s.inputs), v_now
  from dbos_system.workflow_status s
  left join dbos_system.workflow_input i using (workflow_uuid)
  where s.workflow_uuid = p_id
  on conflict (workflow_uuid) do update
  set inputs = excluded.inputs,
    retention_timestamp = excluded.retention_timestamp;

  insert into dbos_system.operation_outputs (
    workflow_uuid, function_id, function_name, output, error, child_workflow_id,
    started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp
  )
  select
    v_new, o.function_id, o.function_name, o.output, o.error, o.child_workflow_id,
    o.started_at_epoch_ms, o.completed_at_epoch_ms, o.serialization, o.application_name, v_now
  from dbos_system.operation_outputs o
  where o.workflow_uuid = p_id
    and o.function_id < p_step;

  insert into dbos_system.streams (workflow_uuid, key, value, "offset", function_id, serialization)
  select v_new, t.key, t.value, t."offset", t.function_id, t.serialization
  from dbos_system.streams t
  where t.workflow_uuid = p_id
    and t.function_id < p_step;

  insert into dbos_system.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
  select v_new, h.function_id, h.key, h.value, h.serialization
  from dbos_system.workflow_events_history h
  where h.workflow_uuid = p_id
    and h.function_id < p_step;

  insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
  select distinct on (h.key) v_new, h.key, h.value, h.serialization
  from dbos_system.workflow_events_history h
  where h.workflow_uuid = v_new
  order by h.key, h.function_id desc;

  return v_new;
end
$$;

-- Takes a workflow that has ended back to a step, under its own id, and lets it run on from there.
-- Events are again what they were then; messages that it had read since are gone.
-- Locks: workflow_status.
create or replace function openclaw.workflow_rewind(p_id text, p_step integer, p_queue text)
returns void
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_status text;
begin
  select s.status
  into v_status
  from dbos_system.workflow_status s
  where s.workflow_uuid = p_id
    and s.name <> 'agent'
  for no key update;
  if not found then
    raise exception 'there is no workflow %', p_id
      using errcode = 'OC002';
  end if;
  if v_status in ('PENDING', 'ENQUEUED', 'DELAYED') then
    raise exception 'the workflow % has not ended (%): cancel it first', p_id, v_status
      using errcode = 'OC005';
  end if;

  delete from dbos_system.workflow_events e
  where e.workflow_uuid = p_id
    and exists (
      select
      from dbos_system.workflow_events_history h
      where h.workflow_uuid = p_id
        and h.key = e.key
        and h.function_id >= p_step
    );
  delete from dbos_system.workflow_events_history h
  where h.workflow_uuid = p_id
    and h.function_id >= p_step;
  insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
  select distinct on (h.key) p_id, h.key, h.value, h.serialization
  from dbos_system.workflow_events_history h
  where h.workflow_uuid = p_id
  order by h.key, h.function_id desc
  on conflict (workflow_uuid, key) do nothing;

  delete from dbos_system.streams t
  where t.workflow_uuid = p_id
    and t.function_id >= p_step
    and t.value = '"__DBOS_STREAM_CLOSED__"';
  delete from dbos_system.operation_outputs o
  where o.workflow_uuid = p_id
    and o.function_id >= p_step;
  delete from dbos_system.notifications n
  where n.destination_uuid = p_id
    and (not n.consumed or n.consumed_by_function_id >= p_step);
  delete from dbos_system.workflow_output o
  where o.workflow_uuid = p_id;

  update dbos_system.workflow_status s
  set status = 'ENQUEUED',
    owner_xid = null,
    queue_name = coalesce(p_queue, '_dbos_internal_queue'),
    queue_partition_key = null,
    recovery_attempts = 0,
    workflow_deadline_epoch_ms = null,
    deduplication_id = null,
    started_at_epoch_ms = null,
    completed_at = null,
    output = null,
    error = null,
    updated_at = openclaw.now_ms()
  where s.workflow_uuid = p_id;
end
$$;

-- Deletes workflows with everything of theirs; a message that one still carries is withdrawn.
-- Locks: as workflow_cancel.
create or replace function openclaw.workflow_delete(p_id text[], p_children boolean)
returns text[]
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  v_family text[] := openclaw.workflow_family(p_id, p_children);
  v_gone text[];
begin
  perform openclaw.workflow_cancel(v_family, false);
  with gone as (
    delete from dbos_system.workflow_status s
    where s.workflow_uuid = any (v_family)
      and s.name <> 'agent'
    returning s.workflow_uuid
  )
  select coalesce(array_agg(g.workflow_uuid order by g.workflow_uuid), '{}')
  into v_gone
  from gone g;
  delete from dbos_system.workflow_input i
  where i.workflow_uuid = any (v_gone);
  delete from dbos_system.workflow_output o
  where o.workflow_uuid = any (v_gone);
  delete from dbos_system.operation_outputs o
  where o.workflow_uuid = any (v_gone);
  return v_gone;
end
$$;

-- All of it by name, for the programs: cancel, resume, fork, restart (a fork of the whole), rewind,
-- delete. Says which workflow there is now, and how many were changed. For somebody else's workflow
-- than p_principal's (null: anybody's) it says that there is none. A change is in the audit, as p_by's.
-- p_new_id is the new workflow's, and one id for all calls of the same request: a request that was
-- carried out is not carried out again, whatever became of the workflow since. p_attributes are the new
-- workflow's, to be found by.
-- Locks: the advisory lock of the request, then as the function of that name.
create or replace function openclaw.workflow_manage(
  p_principal text,
  p_verb text,
  p_id text,
  p_step integer,
  p_new_id text,
  p_version text,
  p_queue text,
  p_children boolean,
  p_app text,
  p_by text,
  p_attributes jsonb default null
)
returns table (id text, status text, changed bigint, bells text[])
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_id text := p_id;
  v_changed bigint := 1;
  v_bells text[] := '{}';
  v_is_repeat boolean := false;
begin
  if p_verb in ('resume', 'rewind', 'delete') and p_new_id is not null then
    perform pg_advisory_xact_lock(hashtextextended('openclaw.manage:' || p_new_id, 0));
    select (a.detail ->> 'changed')::bigint
    into v_changed
    from openclaw.audit a
    where a.detail ? 'request'
      and a.detail ->> 'request' = p_new_id
      and a.act = 'workflow.' || p_verb
      and a.subject = p_id
      and a.principal_id = p_by;
    if found then
      return query
      select
        p_id, coalesce((select s.status from dbos_system.workflow_status s where s.workflow_uuid = p_id), 'DELETED'),
        v_changed, v_bells;
      return;
    end if;
    v_changed := 1;
  end if;

  if not exists (
    select
    from dbos_system.workflow_status s
    where s.workflow_uuid = p_id
      and s.name <> 'agent'
      and (p_principal is null or s.authenticated_user = p_principal)
  ) then
    raise exception 'there is no workflow %', p_id
      using errcode = 'OC002';
  end if;
  -- else one could take another's ids away before they are used, or learn which are
  if p_new_id like '%:%' and not starts_with(p_new_id, p_principal || ':') then
    raise exception 'the id of a new workflow begins with %:', p_principal
      using errcode = 'OC003';
  end if;
  if p_step < 0 then
    raise exception 'a step is 0 or more'
      using errcode = 'OC005';
  end if;

  case p_verb
    when 'cancel' then
      select cardinality(c.cancelled), c.bells
      into v_changed, v_bells
      from openclaw.workflow_cancel(array[p_id], p_children) c;
    when 'resume' then
      v_is_repeat := exists (
        select
        from dbos_system.workflow_status s
        where s.workflow_uuid = p_id
          and s.status = 'ENQUEUED'
      );
      v_changed := cardinality(openclaw.workflow_resume(array[p_id], p_queue));
    when 'fork', 'restart' then
      v_is_repeat := exists (select from dbos_system.workflow_status s where s.workflow_uuid = p_new_id);
      v_id := openclaw.workflow_fork(
        p_id, case p_verb when 'fork' then coalesce(p_step, 0) else 0 end, p_new_id, p_version, p_queue, p_app,
        p_attributes
      );
    when 'rewind' then
      perform openclaw.workflow_rewind(p_id, coalesce(p_step, 0), p_queue);
    when 'delete' then
      v_changed := cardinality(openclaw.workflow_delete(array[p_id], p_children));
    else
      raise exception 'there is no operation %', p_verb
        using errcode = 'OC005';
  end case;

  if v_changed > 0 and not v_is_repeat then
    insert into openclaw.audit (principal_id, act, subject, detail)
    values (
      p_by, 'workflow.' || p_verb, p_id,
      jsonb_strip_nulls(jsonb_build_object('workflowId', v_id, 'changed', v_changed, 'request', p_new_id))
    );
  end if;

  return query
  select
    v_id,
    coalesce((select s.status from dbos_system.workflow_status s where s.workflow_uuid = v_id), 'DELETED'),
    v_changed,
    v_bells;
end
$$;
