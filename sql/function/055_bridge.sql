-- Agents that are DBOS applications. A message to one becomes a workflow of that application, enqueued
-- under the id `<message>/dbos`; its result is the reply. configuration -> 'dbos' of the agent has
-- queue, workflow and application. The message stays leased, without an end of the lease, while the
-- workflow runs: how often it is tried is then DBOS' affair, and a workflow that fails makes a dead
-- letter of its message.

-- Enqueues what has come, settles what has ended; at most p_limit of each for an agent. Called again
-- it does what is left. One that cannot be enqueued is tried again as one whose lease has ended; one that
-- cannot be settled goes behind the others. The bells are of those who wait for what was settled.
-- Locks: as inbox_claim; as message_settle.
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
  v_message record;
  v_ended record;
  v_waiter text;
  v_waiters text[] := '{}';
  v_dispatched bigint := 0;
  v_settled bigint := 0;
begin
  for v_agent in
    select
      a.agent_id,
      a.configuration -> 'dbos' ->> 'queue' as queue,
      a.configuration -> 'dbos' ->> 'workflow' as workflow,
      a.configuration -> 'dbos' ->> 'application' as application
    from openclaw.agent a
    where a.configuration ? 'dbos'
    order by a.agent_id
  loop
    for v_message in
      select c.*
      from openclaw.inbox_claim(v_agent.agent_id, 'dbos', null, null, p_limit, v_lease) c
      where c.message_uuid is not null
    loop
      begin
        insert into dbos_system.workflow_status (
          workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
          created_at, updated_at, application_id, recovery_attempts, priority, serialization,
          application_name, creator_xid, queue_name
        )
        values (
          v_message.message_uuid || '/dbos', 'ENQUEUED', v_agent.workflow, v_message.sender, '', '',
          v_now, v_now, '', 0, 0, 'portable_json',
          v_agent.application, gen_random_uuid()::text, v_agent.queue
        )
        on conflict (workflow_uuid) do nothing;
        if found then
          delete from dbos_system.operation_outputs o
          where o.workflow_uuid = v_message.message_uuid || '/dbos';
          insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
          values (
            v_message.message_uuid || '/dbos',
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
        end if;
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
      from openclaw.inbox i
      left join dbos_system.workflow_status s on s.workflow_uuid = i.message_uuid || '/dbos'
      left join dbos_system.workflow_output o on o.workflow_uuid = s.workflow_uuid
      where i.agent_id = v_agent.agent_id
        and i.state = 'leased'
        and i.holder = 'dbos'
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

  return query
  select v_dispatched, v_settled, array(
    select x.host || '/' || x.executor_id
    from openclaw.executor x
    where x.executor_id = any (v_waiters)
  );
end
$$;
