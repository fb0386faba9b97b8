-- Heartbeats: the gateway asks an agent to go through its checklist, now and again.

-- Plans the next heartbeat of an agent, in place of the one that was planned: a parked workflow,
-- which the sweeper lets run when its time has come. Of an agent that is paused, or has none enabled,
-- there is none. It asks in the name of p_by, or of the gateway where that is no principal. p_parent is
-- the workflow that plans; it plans once. Returns the planned one's id.
-- Locks: agent, workflow_status of the planned heartbeat.
create or replace function openclaw.heartbeat_plan(p_agent text, p_by text, p_parent text)
returns text
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_agent openclaw.agent;
  v_due bigint;
  v_id text;
begin
  select a.*
  into v_agent
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    return null;
  end if;
  if p_parent is not null and exists (
    select
    from dbos_system.workflow_status s
    where s.workflow_uuid = v_agent.heartbeat_workflow
      and s.parent_workflow_id = p_parent
  ) then
    return v_agent.heartbeat_workflow;
  end if;

  update dbos_system.workflow_status s
  set status = 'CANCELLED',
    updated_at = v_now,
    completed_at = v_now
  where s.workflow_uuid = v_agent.heartbeat_workflow
    and s.status = 'DELAYED';

  if v_agent.status = 'active' and (v_agent.heartbeat ->> 'enabled')::boolean then
    -- from the beginning of the one before, which may have waited long for its answer
    v_due := coalesce(
      (select h.started_at from openclaw.heartbeat h where h.workflow_uuid = p_parent), v_now
    ) + case v_agent.heartbeat ->> 'interval'
      when '5m' then 300000
      when '15m' then 900000
      when '1h' then 3600000
      when '2h' then 7200000
      else 1800000
    end;
    v_due := greatest(v_due, v_now);
    v_id := format('heartbeat:%s:%s', p_agent, v_due);
    insert into dbos_system.workflow_status (
      workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
      created_at, updated_at, application_id, recovery_attempts, priority,
      delay_until_epoch_ms, serialization, application_name, parent_workflow_id
    )
    select
      v_id, 'DELAYED', 'heartbeat',
      coalesce((select p.principal_id from openclaw.principal p where p.principal_id = p_by), 'gateway'),
      '', '',
      v_now, v_now, '', 0, 0,
      v_due, 'portable_json', m.application_name, p_parent
    from dbos_system.workflow_status m
    where m.workflow_uuid = 'agent:' || p_agent
    on conflict (workflow_uuid) do nothing;
    insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
    values (v_id, format('{"positionalArgs":[{"agentId":"%s"}],"namedArgs":{}}', p_agent), v_now)
    on conflict (workflow_uuid) do nothing;
  end if;

  update openclaw.agent a
  set heartbeat_workflow = v_id,
    heartbeat_running = nullif(a.heartbeat_running, p_parent)
  where a.agent_id = p_agent;
  return v_id;
end
$$;

-- Is it waiting, or at work? Without settings of its own, so that it becomes a part of the query.
create or replace function openclaw.heartbeat_lives(p_workflow text)
returns boolean
language sql
stable
as $$
  select exists (
    select
    from dbos_system.workflow_status s
    where s.workflow_uuid = p_workflow
      and s.status in ('PENDING', 'ENQUEUED', 'DELAYED')
  );
$$;

-- Each heartbeat plans the next one when it ends. One that was cancelled, deleted or given up has not, so
-- where heartbeats are enabled and there is none, one is planned here: for those of p_limit agents. Returns
-- how many.
-- Locks: as heartbeat_plan; an agent that somebody holds is left for the next time.
create or replace function openclaw.heartbeat_mend(p_limit integer)
returns integer
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  v_found text;
  v_agent openclaw.agent;
  v_count integer := 0;
begin
  for v_found in
    select a.agent_id
    from openclaw.agent a
    where a.status = 'active'
      and (a.heartbeat ->> 'enabled')::boolean
      and not openclaw.heartbeat_lives(a.heartbeat_workflow)
      and not openclaw.heartbeat_lives(a.heartbeat_running)
    order by a.agent_id
    limit p_limit
  loop
    select a.*
    into v_agent
    from openclaw.agent a
    where a.agent_id = v_found
    for no key update skip locked;
    -- as it is now: it may have been planned, or begun, since it was found
    if found
      and v_agent.status = 'active'
      and (v_agent.heartbeat ->> 'enabled')::boolean
      and not openclaw.heartbeat_lives(v_agent.heartbeat_workflow)
      and not openclaw.heartbeat_lives(v_agent.heartbeat_running)
    then
      perform openclaw.heartbeat_plan(
        v_agent.agent_id,
        (
          select s.authenticated_user
          from dbos_system.workflow_status s
          where s.workflow_uuid = coalesce(v_agent.heartbeat_workflow, v_agent.heartbeat_running)
        ),
        null
      );
      v_count := v_count + 1;
    end if;
  end loop;
  return v_count;
end
$$;

-- Is it the question of a heartbeat? The agent's settings ask for it, so its list of senders does not count.
-- An application may have a workflow of this name, too: one that was begun here has the step that says so.
-- In PL/pgSQL, for one in SQL would become a part of whoever calls it, and cost each message a third of its accept.
create or replace function openclaw.heartbeat_asks(p_workflow text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog
as $$
begin
  return exists (
    select
    from dbos_system.workflow_status c
    join dbos_system.workflow_status h on h.workflow_uuid = c.parent_workflow_id
    join dbos_system.operation_outputs o on o.workflow_uuid = h.workflow_uuid
    where c.workflow_uuid = p_workflow
      and h.name = 'heartbeat'
      and o.function_name = 'beginHeartbeat'
  );
end
$$;

-- A heartbeat begins: it is no longer the planned one. One that was not planned is somebody's act, and
-- on record. {agentId,status,name?,sessionKey?,heartbeat?,at}
-- Locks: agent.
create or replace function openclaw.heartbeat_begin(p_agent text, p_workflow text)
returns jsonb
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_agent openclaw.agent;
begin
  select a.*
  into v_agent
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    raise exception 'there is no agent %', p_agent
      using errcode = 'OC002';
  end if;
  update openclaw.agent a
  set heartbeat_workflow = nullif(a.heartbeat_workflow, p_workflow),
    heartbeat_running = p_workflow
  where a.agent_id = p_agent;
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    coalesce(nullif(s.authenticated_user, ''), 'dbos'), 'agent.heartbeat', p_agent,
    jsonb_build_object('workflowId', p_workflow, 'request', p_workflow)
  from dbos_system.workflow_status s
  where s.workflow_uuid = p_workflow
    and p_workflow not like 'heartbeat:%'
    and not exists (
      select
      from openclaw.audit a
      where a.detail ? 'request'
        and a.detail ->> 'request' = p_workflow
    );
  return jsonb_strip_nulls(jsonb_build_object(
    'agentId', p_agent,
    'status', v_agent.status,
    'name', v_agent.name,
    'sessionKey', v_agent.session_key,
    'heartbeat', v_agent.heartbeat,
    'at', openclaw.now_ms()
  ));
end
$$;

-- Writes down what a heartbeat found. Of an agent that is gone nothing is written.
-- {agentId,status,response?,reason?,startedAt,finishedAt}
create or replace function openclaw.heartbeat_record(
  p_workflow text,
  p_agent text,
  p_status text,
  p_response jsonb,
  p_reason text,
  p_started bigint
)
returns jsonb
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_kept constant integer := 100;
  v_now constant bigint := openclaw.now_ms();
begin
  insert into openclaw.heartbeat (
    workflow_uuid, agent_id, status, response, reason, started_at, finished_at
  )
  select p_workflow, a.agent_id, p_status, p_response, p_reason, p_started, v_now
  from openclaw.agent a
  where a.agent_id = p_agent
  on conflict (workflow_uuid) do nothing;

  delete from openclaw.heartbeat h
  where h.agent_id = p_agent
    and h.workflow_uuid in (
      select o.workflow_uuid
      from openclaw.heartbeat o
      where o.agent_id = p_agent
      order by o.finished_at desc, o.workflow_uuid desc
      offset v_kept
    );

  return jsonb_strip_nulls(jsonb_build_object(
    'agentId', p_agent,
    'status', p_status,
    'response', p_response,
    'reason', p_reason,
    'startedAt', openclaw.iso(p_started),
    'finishedAt', openclaw.iso(v_now)
  ));
end
$$;
