-- Makes an agent: the principal, the agent, and its mailbox, which is the entity workflow
-- `agent:<id>`: parked for as long as the agent lives, so that no retention sweep takes it.
-- Called again it changes nothing. True: it was made now, by p_by, as the audit knows.
-- Locks: principal, agent, inbox_bound, workflow_status of the mailbox.
create or replace function openclaw.agent_provision(
  p_agent text,
  p_app text,
  p_version text,
  p_by text default 'gateway'
)
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_made boolean;
begin
  insert into openclaw.principal (principal_id, kind, scopes)
  values (p_agent, 'agent', array['send', 'inbox', 'workflows:read'])
  on conflict do nothing;

  if exists (
    select from openclaw.principal
    where principal_id = p_agent
      and kind <> 'agent'
  ) then
    raise exception '% is the name of a principal that is not an agent', p_agent
      using errcode = 'OC005';
  end if;

  if exists (
    select from dbos_system.workflow_status
    where workflow_uuid = 'agent:' || p_agent
      and name <> 'agent'
  ) then
    raise exception 'agent:% is the id of a workflow of somebody''s own: delete it first, or choose another name', p_agent
      using errcode = 'OC005';
  end if;

  -- a reading of one that had this name before must not pass for one of this
  insert into openclaw.agent (agent_id, version)
  select p_agent, coalesce(max((a.detail ->> 'version')::bigint), 0) + 1
  from openclaw.audit a
  where a.act = 'agent.delete'
    and a.subject = p_agent
  on conflict do nothing;
  v_made := found;
  if v_made then
    insert into openclaw.audit (principal_id, act, subject)
    values (p_by, 'agent.provision', p_agent);
    -- nobody can have sent to it yet, so this needs no counting (inbox_room)
    insert into openclaw.inbox_bound (agent_id, base)
    values (p_agent, -nextval('openclaw.inbox_arrival'))
    on conflict do nothing;
  end if;

  insert into dbos_system.workflow_status (
    workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
    application_version, application_id, recovery_attempts, priority,
    delay_until_epoch_ms, serialization, application_name
  )
  values (
    'agent:' || p_agent, 'DELAYED', 'agent', p_agent, '', '',
    p_version, '', 0, 0,
    253402300799000, 'portable_json', p_app
  )
  on conflict do nothing;

  insert into dbos_system.workflow_input (workflow_uuid, inputs)
  values (
    'agent:' || p_agent,
    format('{"positionalArgs":[{"agentId":"%s"}],"namedArgs":{}}', p_agent)
  )
  on conflict do nothing;

  return v_made;
end
$$;
