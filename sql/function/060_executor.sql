-- Executors: one start of one process each, and what happens to their work when they are gone.

-- Makes oneself known; called again it says that one is alive.
create or replace function openclaw.executor_register(
  p_executor text,
  p_kind text,
  p_host text,
  p_pid integer,
  p_pid_started bigint,
  p_principal text,
  p_client text
)
returns void
language plpgsql
set search_path = pg_catalog
as $$
begin
  insert into openclaw.executor as x (executor_id, kind, host, pid, pid_started, principal_id, client)
  values (p_executor, p_kind, p_host, p_pid, p_pid_started, p_principal, p_client::jsonb)
  on conflict (executor_id) do update
  set seen_at = openclaw.now_ms(),
    ended_at = null,
    principal_id = coalesce(excluded.principal_id, x.principal_id),
    client = coalesce(excluded.client, x.client);
end
$$;

-- Whether a call by which a receiver changes its subscriptions may do so: a late one, that others have
-- overtaken because its connection was lost, or that comes when the receiver has ended, may not. Receivers
-- number these calls, from 1 and rising; one that is sent again with its number may do again what it did.
-- Locks: executor.
create or replace function openclaw.executor_call(p_executor text, p_call bigint)
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
begin
  update openclaw.executor x
  set call = p_call
  where x.executor_id = p_executor
    and x.call <= p_call
    and x.ended_at is null;
  return found;
end
$$;

-- Buries executors: their running workflows can be claimed again, their deliveries are ready at
-- once, their subscriptions are gone. The bells are of those who now have something to look at.
-- A workflow that was locked at its executor's burial, or that the dead one's last statement claimed
-- or started afterwards, is found by the next call, whoever that is for.
-- Locks: executor, workflow_status in the order of ids, subscription, inbox in the order of rank.
create or replace function openclaw.executor_reap(p_executors text[])
returns table (executors bigint, workflows bigint, deliveries bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_gone text[];
  v_workflows bigint;
  v_deliveries bigint;
  v_agents text[];
begin
  with gone as (
    select x.executor_id
    from openclaw.executor x
    where x.executor_id = any (p_executors)
      and x.ended_at is null
    order by x.executor_id
    for no key update skip locked
  ),
  buried as (
    update openclaw.executor x
    set ended_at = openclaw.now_ms()
    from gone g
    where x.executor_id = g.executor_id
    returning x.executor_id
  )
  select coalesce(array_agg(b.executor_id), '{}')
  into v_gone
  from buried b;

  v_workflows := openclaw.workflow_recover(
    array(
      select distinct s.executor_id
      from dbos_system.workflow_status s
      join openclaw.executor x on x.executor_id = s.executor_id
      where s.status = 'PENDING'
        and x.ended_at is not null
    )
  );

  select array_agg(distinct i.agent_id)
  into v_agents
  from openclaw.inbox i
  where i.state = 'leased'
    and i.holder = any (v_gone);

  delete from openclaw.subscription s
  where s.executor_id = any (v_gone);

  v_deliveries := openclaw.inbox_release(null, v_gone);

  return query
  select
    cardinality(v_gone)::bigint,
    v_workflows,
    v_deliveries,
    array(
      select distinct x.host || '/' || x.executor_id
      from openclaw.subscription s
      join openclaw.executor x on x.executor_id = s.executor_id
      where s.agent_id = any (v_agents)
    );
end
$$;

-- Makes the running workflows of executors claimable again, as a DBOS application does at launch
-- for its own. The next claim takes a fresh owner token, so that a former owner that is not dead
-- after all is fenced.
-- Locks: workflow_status in the order of ids.
create or replace function openclaw.workflow_recover(p_executors text[])
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_recovered bigint;
begin
  with lost as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.status = 'PENDING'
      and s.executor_id = any (p_executors)
    order by s.workflow_uuid
    for no key update skip locked
  )
  update dbos_system.workflow_status s
  set status = 'ENQUEUED',
    owner_xid = null,
    started_at_epoch_ms = null,
    queue_name = coalesce(s.queue_name, '_dbos_internal_queue'),
    updated_at = openclaw.now_ms()
  from lost l
  where s.workflow_uuid = l.workflow_uuid;
  get diagnostics v_recovered = row_count;
  if v_recovered > 0 then
    insert into openclaw.metric_added (name, value)
    values ('workflows_recovered', v_recovered);
  end if;
  return v_recovered;
end
$$;

-- Workflows that run under an executor that nobody knows, or that has ended since: an executor that
-- was buried while it claimed. Only names that this program runs.
-- Locks: workflow_status in the order of ids.
create or replace function openclaw.workflow_adopt(p_app text, p_name text[], p_limit integer)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_adopted bigint;
begin
  with lost as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.status = 'PENDING'
      and s.application_name = p_app
      and s.name = any (p_name)
      and not exists (
        select
        from openclaw.executor x
        where x.executor_id = s.executor_id
          and x.ended_at is null
      )
    order by s.workflow_uuid
    limit p_limit
    for no key update of s skip locked
  )
  update dbos_system.workflow_status s
  set status = 'ENQUEUED',
    owner_xid = null,
    started_at_epoch_ms = null,
    queue_name = coalesce(s.queue_name, '_dbos_internal_queue'),
    updated_at = openclaw.now_ms()
  from lost l
  where s.workflow_uuid = l.workflow_uuid;
  get diagnostics v_adopted = row_count;
  if v_adopted > 0 then
    insert into openclaw.metric_added (name, value)
    values ('workflows_recovered', v_adopted);
  end if;
  return v_adopted;
end
$$;
