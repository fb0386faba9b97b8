-- Agents after they were made: their settings, their pauses, their end.

-- Changes what p_change names (an object; null clears) and leaves the rest:
-- name, persona, model, userId, sessionKey, inboxLimit, allowFrom, status, heartbeat, configuration;
-- `reason` goes with a pause. A change that changes nothing is none: so a second call does nothing.
-- p_match: versions, of which the agent must have one; null: any. The bells are of those who receive
-- its messages and may have to begin again. No row: there is no such agent.
--
-- Who pauses waits for the deliveries that are being given out; from its answer on there is none.
-- Locks: agent, subscription, workflow_status of the planned heartbeat.
create or replace function openclaw.agent_change(
  p_by text,
  p_agent text,
  p_change jsonb,
  p_match bigint[]
)
returns table (agent_id text, version bigint, changed boolean, bells text[])
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_old openclaw.agent;
  v_new openclaw.agent;
  v_changed boolean;
begin
  select a.*
  into v_old
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    return;
  end if;

  v_new := v_old;
  if p_change ? 'name' then
    v_new.name := p_change ->> 'name';
  end if;
  if p_change ? 'persona' then
    v_new.persona := p_change ->> 'persona';
  end if;
  if p_change ? 'model' then
    v_new.model := p_change ->> 'model';
  end if;
  if p_change ? 'userId' then
    v_new.user_id := p_change ->> 'userId';
  end if;
  if p_change ? 'sessionKey' then
    v_new.session_key := p_change ->> 'sessionKey';
  end if;
  if p_change ? 'inboxLimit' then
    v_new.inbox_limit := (p_change ->> 'inboxLimit')::bigint;
  end if;
  if p_change ? 'heartbeat' then
    v_new.heartbeat := nullif(p_change -> 'heartbeat', 'null');
  end if;
  if p_change ? 'allowFrom' then
    v_new.allow_from := case
      when jsonb_typeof(p_change -> 'allowFrom') = 'array'
        then array(select jsonb_array_elements_text(p_change -> 'allowFrom'))
    end;
  end if;
  if p_change ? 'configuration' then
    -- to which DBOS application it belongs is no setting of its own
    v_new.configuration := coalesce(nullif(p_change -> 'configuration', 'null'), '{}') - 'dbos'
      || case
        when v_old.configuration ? 'dbos'
          then jsonb_build_object('dbos', v_old.configuration -> 'dbos')
        else '{}'
      end;
  end if;
  if p_change ? 'status' and p_change ->> 'status' <> v_old.status then
    v_new.status := p_change ->> 'status';
    v_new.paused := case
      when v_new.status = 'paused'
        then jsonb_build_object('at', openclaw.now_ms(), 'by', p_by, 'reason', p_change -> 'reason')
    end;
  end if;

  v_changed := v_new is distinct from v_old;
  if v_old.version <> all (p_match)
    -- who has lost the answer asks again for what is done (RFC 9110, 13.1.1)
    and (v_changed or v_old.version - 1 <> all (p_match))
  then
    raise exception 'the agent % is at version % now: read it again', p_agent, v_old.version
      using errcode = 'OC009';
  end if;

  if v_changed then
    v_new.version := v_old.version + 1;
    update openclaw.agent a
    set name = v_new.name,
      persona = v_new.persona,
      model = v_new.model,
      user_id = v_new.user_id,
      session_key = v_new.session_key,
      inbox_limit = v_new.inbox_limit,
      heartbeat = v_new.heartbeat,
      allow_from = v_new.allow_from,
      configuration = v_new.configuration,
      status = v_new.status,
      paused = v_new.paused,
      version = v_new.version,
      updated_at = openclaw.now_ms()
    where a.agent_id = p_agent;

    insert into openclaw.audit (principal_id, act, subject, detail)
    values (
      p_by, 'agent.set', p_agent,
      jsonb_build_object(
        'fields', array(select jsonb_object_keys(p_change)),
        'allowFrom', to_jsonb(v_new.allow_from),
        'status', v_new.status
      )
    );

    if v_new.status is distinct from v_old.status then
      perform
      from openclaw.subscription s
      where s.agent_id = p_agent
      order by s.executor_id
      for update;
    end if;
    if v_new.status is distinct from v_old.status or v_new.heartbeat is distinct from v_old.heartbeat then
      perform openclaw.heartbeat_plan(p_agent, p_by, null);
    end if;
  end if;

  return query
  select
    p_agent, v_new.version, v_changed,
    array(
      select x.host || '/' || x.executor_id
      from openclaw.subscription s
      join openclaw.executor x on x.executor_id = s.executor_id
      where s.agent_id = p_agent
        and p_change ->> 'status' = 'active'
    );
end
$$;

-- Pauses or resumes, and says how the agent stands: {agentId,status,previousStatus,changed,version,
-- pending,inFlight,paused?,nextHeartbeat?}. `paused` is what is preserved: since when, by whom, why;
-- of a resumption that of the pause that ended.
-- Locks: as agent_change.
create or replace function openclaw.agent_pause(p_by text, p_agent text, p_status text, p_reason text)
returns jsonb
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_old openclaw.agent;
  v_new openclaw.agent;
begin
  select a.*
  into v_old
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    raise exception 'there is no agent %', p_agent
      using errcode = 'OC002';
  end if;
  perform openclaw.agent_change(
    p_by, p_agent, jsonb_build_object('status', p_status, 'reason', p_reason), null
  );
  select a.*
  into v_new
  from openclaw.agent a
  where a.agent_id = p_agent;

  return jsonb_build_object(
    'agentId', p_agent,
    'status', v_new.status,
    'previousStatus', v_old.status,
    'changed', v_new.status <> v_old.status,
    'version', v_new.version,
    'pending', (
      select count(*)
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'ready'
    ),
    'inFlight', (
      select count(*)
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'leased'
    ),
    'paused', openclaw.agent_pause_document(coalesce(v_new.paused, v_old.paused)),
    'nextHeartbeat', v_new.heartbeat_workflow
  );
end
$$;

-- A pause as people read it.
create or replace function openclaw.agent_pause_document(p_paused jsonb)
returns jsonb
language sql
stable
as $$
  select p_paused || pg_catalog.jsonb_build_object('at', openclaw.iso((p_paused ->> 'at')::bigint))
$$;

-- Ends an agent: its tokens, its subscriptions, its heartbeats. What waits in its inbox is withdrawn,
-- and those who sent it are told; what it has sent goes on. No row: there is no such agent.
-- Locks: agent, workflow_status of the mailbox, then as message_settle.
create or replace function openclaw.agent_delete(
  p_by text,
  p_app text,
  p_legacy boolean,
  p_agent text,
  p_match bigint[]
)
returns table (agent_id text, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_agent openclaw.agent;
  v_seq bigint[];
  v_waiters text[];
  v_bells text[];
begin
  select a.*
  into v_agent
  from openclaw.agent a
  where a.agent_id = p_agent
  for update;
  if not found then
    return;
  end if;
  if v_agent.version <> all (p_match) then
    raise exception 'the agent % is at version % now: read it again', p_agent, v_agent.version
      using errcode = 'OC009';
  end if;

  -- who is writing to the mailbox has committed after this, and nobody can any more
  perform
  from dbos_system.workflow_status s
  where s.workflow_uuid = 'agent:' || p_agent
  for update;

  select array_agg(i.inbox_seq)
  into v_seq
  from openclaw.inbox i
  where i.agent_id = p_agent
    and i.state in ('ready', 'leased');
  if v_seq is not null then
    select array_agg(t.waiter)
    into v_waiters
    from openclaw.message_settle(
      p_app, p_legacy, v_seq, array_fill(null::text, array[cardinality(v_seq)]), 'withdrawn',
      array_fill(null::text, array[cardinality(v_seq)]), 'the recipient was deleted'
    ) t;
  end if;
  -- a dead letter has nobody any more to whom it could be sent once more
  update openclaw.inbox i
  set state = 'withdrawn'
  where i.agent_id = p_agent
    and i.state = 'dead';

  v_bells := array(
    select x.host || '/' || x.executor_id
    from openclaw.executor x
    where x.executor_id = any (v_waiters)
      or x.executor_id in (
        select s.executor_id
        from openclaw.subscription s
        where s.agent_id = p_agent
      )
  );

  update openclaw.agent a
  set heartbeat = null
  where a.agent_id = p_agent;
  perform openclaw.heartbeat_plan(p_agent, p_by, null);

  -- with its agent, and not before: a mailbox goes last
  delete from openclaw.principal p
  where p.principal_id = p_agent;

  -- the provisioning is forgotten, so that the agent can be made again
  delete from dbos_system.operation_outputs o
  where o.workflow_uuid in ('agent:' || p_agent, 'provision:' || p_agent);
  delete from dbos_system.workflow_input i
  where i.workflow_uuid in ('agent:' || p_agent, 'provision:' || p_agent);
  delete from dbos_system.workflow_output o
  where o.workflow_uuid in ('agent:' || p_agent, 'provision:' || p_agent);
  delete from dbos_system.workflow_status s
  where s.workflow_uuid in ('agent:' || p_agent, 'provision:' || p_agent);

  insert into openclaw.audit (principal_id, act, subject, detail)
  values (
    p_by, 'agent.delete', p_agent,
    jsonb_build_object('withdrawn', coalesce(cardinality(v_seq), 0), 'version', v_agent.version)
  );
  return query select p_agent, v_bells;
end
$$;
