-- Agents that are DBOS applications. A message to one becomes a workflow of that application, enqueued
-- under the id `<message>/dbos`, and `<message>/dbos-2` and so on where it is delivered once more (redriven,
-- rewound, given back); its result is the reply. configuration -> 'dbos' of the agent has
-- queue, workflow and application. The message stays leased, without an end of the lease, while the
-- workflow runs: how often it is tried is then DBOS' affair, and a workflow that fails makes a dead
-- letter of its message. What was handed over so stands in openclaw.dispatch, and is settled by its result
-- whatever the agent has become meanwhile: paused, another's, or no application any more.

-- The id of a message's next workflow.
create or replace function openclaw.dispatch_id(p_message text)
returns text
language plpgsql
stable
set search_path = pg_catalog
set enable_seqscan = off
as $$
declare
  v_run integer := 1;
  v_id text := p_message || '/dbos';
begin
  while exists (select from dbos_system.workflow_status s where s.workflow_uuid = v_id) loop
    v_run := v_run + 1;
    v_id := p_message || '/dbos-' || v_run;
  end loop;
  return v_id;
end
$$;

-- Says which application an agent is; p_queue null: none any more. What the one before has not begun is
-- taken from its queue and given back to the inbox; what it has begun is settled by its result. Called again
-- it changes nothing. Null: there is no such agent.
-- Locks: agent; the inbox's advisory lock for claims; workflow_status in the order of ids; inbox in the
-- order of rank.
create or replace function openclaw.agent_bridge(p_agent text, p_queue text, p_workflow text, p_application text)
returns text
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_old jsonb;
  v_new constant jsonb := case
    when p_queue is not null
      then jsonb_build_object('queue', p_queue, 'workflow', p_workflow, 'application', p_application)
  end;
  v_seq bigint[];
  v_delivery text[];
begin
  select a.configuration -> 'dbos'
  into v_old
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    return null;
  end if;
  if v_new is not distinct from v_old then
    return p_agent;
  end if;

  -- who dispatches has done so before this, or sees what the agent is from now on
  perform pg_advisory_xact_lock(hashtextextended('inbox ' || p_agent, 0));
  update openclaw.agent a
  set configuration = a.configuration - 'dbos'
      || case when v_new is null then '{}' else jsonb_build_object('dbos', v_new) end,
    version = a.version + 1,
    updated_at = v_now
  where a.agent_id = p_agent;

  with waiting as (
    select s.workflow_uuid, d.inbox_seq, d.delivery_id
    from openclaw.dispatch d
    join dbos_system.workflow_status s on s.workflow_uuid = d.workflow_uuid
    where d.agent_id = p_agent
      and s.status in ('ENQUEUED', 'DELAYED')
      and not exists (
        select
        from dbos_system.operation_outputs o
        where o.workflow_uuid = s.workflow_uuid
      )
    order by s.workflow_uuid
    for update of s
  ),
  taken as (
    update dbos_system.workflow_status s
    set status = 'CANCELLED',
      queue_name = null,
      deduplication_id = null,
      updated_at = v_now,
      completed_at = v_now
    from waiting w
    where s.workflow_uuid = w.workflow_uuid
  )
  select array_agg(w.inbox_seq), array_agg(w.delivery_id)
  into v_seq, v_delivery
  from waiting w;

  perform
  from openclaw.inbox i
  where i.inbox_seq = any (v_seq)
  order by i.rank, i.inbox_seq
  for update;
  update openclaw.inbox i
  set state = 'ready',
    attempt = i.attempt - 1,
    due_at = v_now,
    holder = null,
    delivery_id = null,
    handed = false
  from unnest(v_seq, v_delivery) as g (seq, delivery)
  where i.inbox_seq = g.seq
    and i.state = 'leased'
    and i.delivery_id = g.delivery;
  delete from openclaw.dispatch d
  where d.agent_id = p_agent
    and d.inbox_seq = any (v_seq);
  return p_agent;
end
$$;

-- Forgets handed-over messages that have reached their end, at most p_limit. One that ended otherwise, its
-- sender cancelled it or the agent was deleted, is taken from the application's queue where it was not begun.
-- Locks: dispatch, workflow_status; skipping what others hold.
create or replace function openclaw.dispatch_forget(p_limit integer)
returns void
language sql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  with over as (
    select d.agent_id, d.inbox_seq, d.workflow_uuid
    from openclaw.dispatch d
    where not exists (
      select
      from openclaw.inbox i
      where i.inbox_seq = d.inbox_seq
        and i.state = 'leased'
        and i.delivery_id = d.delivery_id
    )
    limit p_limit
    for update of d skip locked
  ),
  forgotten as (
    delete from openclaw.dispatch d
    using over o
    where d.agent_id = o.agent_id
      and d.inbox_seq = o.inbox_seq
  ),
  waiting as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.workflow_uuid in (select o.workflow_uuid from over o)
      and s.status in ('ENQUEUED', 'DELAYED')
    order by s.workflow_uuid
    for update of s skip locked
  )
  update dbos_system.workflow_status s
  set status = 'CANCELLED',
    queue_name = null,
    deduplication_id = null,
    updated_at = openclaw.now_ms(),
    completed_at = openclaw.now_ms()
  from waiting w
  where s.workflow_uuid = w.workflow_uuid
$$;

-- Enqueues what has come, settles what has ended; at most p_limit of each for an agent. Called again
-- it does what is left. One that cannot be enqueued is tried again as one whose lease has ended; one that
-- cannot be settled goes behind the others. The bells are of those who wait for what was settled.
-- Locks: the inbox's advisory lock for claims where something is ready; as inbox_claim; as message_settle;
-- as dispatch_forget.
create or replace function openclaw.bridge(p_app text, p_legacy boolean, p_limit integer)
returns table (dispatched bigint, settled bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_lease constant bigint := 3155760000000; -- a hundred years
  v_base_ms constant bigint := 1000;
  v_max_ms constant bigint := 60000;
  v_now constant bigint := openclaw.now_ms();
  v_agent record;
  v_to jsonb;
  v_id text;
  v_created bigint; -- rises with each message of an agent: DBOS takes them in that order
  v_message record;
  v_ended record;
  v_waiter text;
  v_waiters text[] := '{}';
  v_dispatched bigint := 0;
  v_settled bigint := 0;
begin
  for v_agent in
    select a.agent_id
    from openclaw.agent a
    where a.configuration ? 'dbos'
    union
    select d.agent_id
    from openclaw.dispatch d
    order by 1
  loop
    v_to := null;
    if exists (
      select
      from openclaw.inbox i
      where i.agent_id = v_agent.agent_id
        and i.state = 'ready'
        and i.due_at <= v_now
    ) then
      perform pg_advisory_xact_lock(hashtextextended('inbox ' || v_agent.agent_id, 0));
      select a.configuration -> 'dbos'
      into v_to
      from openclaw.agent a
      where a.agent_id = v_agent.agent_id;
      v_created := greatest(
        v_now - 1,
        (
          select max(s.created_at)
          from openclaw.dispatch d
          join dbos_system.workflow_status s on s.workflow_uuid = d.workflow_uuid
          where d.agent_id = v_agent.agent_id
        )
      );
    end if;
    for v_message in
      select c.*
      from openclaw.inbox_claim(v_agent.agent_id, 'dbos', null, null, p_limit, v_lease) c
      where v_to is not null
        and c.message_uuid is not null
    loop
      begin
        v_id := openclaw.dispatch_id(v_message.message_uuid);
        v_created := v_created + 1;
        insert into dbos_system.workflow_status (
          workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
          created_at, updated_at, application_id, recovery_attempts, priority, serialization,
          application_name, creator_xid, queue_name, attributes
        )
        values (
          v_id, 'ENQUEUED', v_to ->> 'workflow', v_message.sender, '', '',
          v_created, v_now, '', 0, 0, 'portable_json',
          v_to ->> 'application', gen_random_uuid()::text, v_to ->> 'queue',
          jsonb_build_object('openclawMessage', v_message.message_uuid)
        );
        -- what another workflow of this id has left
        delete from dbos_system.operation_outputs o
        where o.workflow_uuid = v_id;
        delete from dbos_system.workflow_output o
        where o.workflow_uuid = v_id;
        insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
        values (
          v_id,
          format(
            '{"positionalArgs":[%s],"namedArgs":{}}',
            case
              -- what a DBOS client sent to the mailbox is the content alone
              when v_message.workflow_uuid is null then format(
                '{"messageId":%s,"from":%s,"to":%s,"content":%s}',
                to_json(v_message.message_id), to_json(v_message.sender), to_json(v_agent.agent_id),
                openclaw.decode_value(v_message.serialization, v_message.message)
              )
              else openclaw.decode_value(v_message.serialization, v_message.message)
            end
          ),
          v_now
        )
        on conflict (workflow_uuid) do update
        set inputs = excluded.inputs,
          retention_timestamp = excluded.retention_timestamp;
        insert into openclaw.dispatch (agent_id, inbox_seq, delivery_id, workflow_uuid)
        values (v_agent.agent_id, v_message.inbox_seq, v_message.delivery_id, v_id)
        on conflict (agent_id, inbox_seq) do update
        set delivery_id = excluded.delivery_id,
          workflow_uuid = excluded.workflow_uuid;
        v_dispatched := v_dispatched + 1;
      exception
        when others then
          raise warning 'bridge: % of % is not enqueued: %', v_message.inbox_seq, v_agent.agent_id, sqlerrm;
          begin
            select r.waiter
            into v_waiter
            from openclaw.inbox_retry(
              p_app, p_legacy, array[v_message.inbox_seq], array[v_message.delivery_id], true, false, null, false,
              'it could not be enqueued: ' || sqlerrm, v_base_ms, v_max_ms
            ) r
            where r.state = 'dead';
            v_waiters := v_waiters || v_waiter;
          exception
            when others then
              null; -- without a workflow, it is settled as one whose workflow was deleted
          end;
      end;
    end loop;

    for v_ended in
      select
        i.inbox_seq, i.delivery_id, s.status,
        case when s.serialization in ('portable_json', 'js_superjson') then
          openclaw.decode_value(s.serialization, coalesce(o.output, s.output))
        end as output,
        openclaw.decode_error(s.serialization, coalesce(o.error, s.error)) as error
      from openclaw.dispatch d
      join openclaw.inbox i
        on i.inbox_seq = d.inbox_seq
        and i.delivery_id = d.delivery_id
        and i.state = 'leased'
      left join dbos_system.workflow_status s on s.workflow_uuid = d.workflow_uuid
      left join dbos_system.workflow_output o on o.workflow_uuid = s.workflow_uuid
      where d.agent_id = v_agent.agent_id
        and (s.status is null or s.status not in ('ENQUEUED', 'PENDING', 'DELAYED'))
      order by i.due_at, i.inbox_seq
      limit p_limit
    loop
      begin
        select m.waiter
        into v_waiter
        from openclaw.message_settle(
          p_app, p_legacy, array[v_ended.inbox_seq], array[v_ended.delivery_id],
          case v_ended.status when 'SUCCESS' then 'acked' else 'dead' end,
          array[case v_ended.status when 'SUCCESS' then v_ended.output end],
          case when v_ended.status is distinct from 'SUCCESS' then
            format('the workflow of %s: %s', v_agent.agent_id, coalesce(v_ended.error, v_ended.status, 'deleted'))
          end
        ) m;
        if found then
          v_settled := v_settled + 1;
          v_waiters := v_waiters || v_waiter;
        end if;
      exception
        when others then
          raise warning 'bridge: % of % is not settled: %', v_ended.inbox_seq, v_agent.agent_id, sqlerrm;
          update openclaw.inbox i
          set due_at = v_now + v_lease
          where i.inbox_seq = v_ended.inbox_seq
            and i.delivery_id = v_ended.delivery_id;
      end;
    end loop;
  end loop;
  perform openclaw.dispatch_forget(p_limit);

  return query
  select v_dispatched, v_settled, array(
    select x.host || '/' || x.executor_id
    from openclaw.executor x
    where x.executor_id = any (v_waiters)
  );
end
$$;
