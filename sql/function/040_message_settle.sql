-- The portable error of a message that ended without an acknowledgement; p_value: its result.
create or replace function openclaw.message_error(p_state text, p_reason text, p_value text)
returns text
language sql
immutable
as $$
  select pg_catalog.format(
    '{"name":"MessageNotAcknowledged","message":%s,"code":"%s","data":%s}',
    pg_catalog.to_json(
      case p_state
        when 'dead' then 'the message is a dead letter: ' || coalesce(p_reason, 'delivered too often')
        when 'expired' then 'the message expired before it was acknowledged'
        else 'the message was withdrawn'
      end
    )::text,
    case p_state when 'dead' then 'DEAD_LETTER' when 'expired' then 'EXPIRED' else 'WITHDRAWN' end,
    p_value
  )
$$;

-- The one place where a message reaches its end: acknowledged, dead, expired or withdrawn. Settles
-- a set of messages together with the workflows that carry them: the step that waited gets its
-- checkpoint, the workflow its outcome, the event log its last line, in one transaction.
--
-- p_delivery  an element that is not null must still be the message's current delivery
-- p_state     the inbox state to reach
-- p_response  the recipient's answer as JSON text, for 'acked'; null: none
-- p_reason    for people, why a message is dead
--
-- Returns a row for each message that was settled by this call; who was settled before is not
-- among them. A workflow that is woken or running at this moment is settled too: its executor's
-- fence fails, and it adopts this outcome.
-- Locks: workflow_status in the order of ids, inbox in the order of rank.
create or replace function openclaw.message_settle(
  p_app text,
  p_legacy boolean,
  p_seq bigint[],
  p_delivery text[],
  p_state text,
  p_response text[],
  p_reason text
)
returns table (
  inbox_seq bigint,
  agent_id text,
  waiter text
)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
begin
  perform openclaw.message_lock(p_seq);

  return query
  with settled as (
    update openclaw.inbox i
    set state = p_state,
      handed = i.handed or p_state = 'acked',
      reason = case when p_state <> 'acked' then p_reason end,
      due_at = v_now,
      -- a carrier that was cancelled meanwhile takes no outcome: its message keeps the answer for when it is
      -- resumed. By its id: an index of what was cancelled would be read whole
      result = case
        when p_state = 'acked'
          and g.response is not null
          and i.result is null
          and (select s.status = 'CANCELLED' from dbos_system.workflow_status s where s.workflow_uuid = i.workflow_uuid)
        then format(
          '{"messageId":%s,"status":"acknowledged","deliveryAttempts":%s,"lastAttemptTime":%s,"response":%s}',
          to_json(openclaw.message_id(i.sender, i.message_uuid)),
          i.attempt,
          coalesce('"' || openclaw.iso(i.last_attempt_at) || '"', 'null'),
          g.response
        )
        else i.result
      end
    from unnest(p_seq, p_delivery, p_response) as g (seq, delivery, response)
    where i.inbox_seq = g.seq
      and case
        when g.delivery is null then i.state in ('ready', 'leased')
        else i.state = 'leased' and i.delivery_id = g.delivery
      end
    returning
      i.inbox_seq, i.agent_id, i.waiter, i.workflow_uuid, i.await_step, i.sender, i.message_uuid,
      i.attempt, i.last_attempt_at, g.response
  ),
  result as (
    select
      t.*,
      format(
        '{"messageId":%s,"status":"%s","deliveryAttempts":%s,"lastAttemptTime":%s%s}',
        to_json(openclaw.message_id(t.sender, t.message_uuid)),
        case p_state when 'acked' then 'acknowledged' when 'expired' then 'expired' else 'failed' end,
        t.attempt,
        coalesce('"' || openclaw.iso(t.last_attempt_at) || '"', 'null'),
        case
          when p_state = 'acked' then coalesce(',"response":' || t.response, '')
          else ',"reason":' || to_json(coalesce(p_reason, p_state))::text
        end
      ) as value
    from settled t
  ),
  outcome as (
    select
      r.*,
      case when p_state = 'acked' then r.value end as output,
      case when p_state <> 'acked' then
        openclaw.message_error(p_state, p_reason, r.value)
      end as error
    from result r
  ),
  finished as (
    update dbos_system.workflow_status s
    set status = case when p_state = 'acked' then 'SUCCESS' else 'ERROR' end,
      updated_at = v_now,
      completed_at = v_now,
      owner_xid = null,
      deduplication_id = null,
      output = case when p_legacy then openclaw.encode_value(s.serialization, o.output) end,
      error = case when p_legacy then openclaw.encode_error(s.serialization, o.error) end
    from outcome o
    where s.workflow_uuid = o.workflow_uuid
      and s.status in ('DELAYED', 'ENQUEUED', 'PENDING')
    returning
      s.workflow_uuid, s.serialization, o.await_step, o.output, o.error, o.attempt,
      o.last_attempt_at, s.created_at,
      -- of a workflow that came through a queue: its client may be a launched application of DBOS
      s.queue_name <> '_dbos_internal_queue' and length(s.workflow_uuid) < 1000 as heard
  ),
  outputs as (
    insert into dbos_system.workflow_output (workflow_uuid, output, error, retention_timestamp)
    select
      f.workflow_uuid,
      openclaw.encode_value(f.serialization, f.output),
      openclaw.encode_error(f.serialization, f.error),
      v_now
    from finished f
    on conflict (workflow_uuid) do update
    set output = excluded.output,
      error = excluded.error,
      retention_timestamp = excluded.retention_timestamp
  ),
  checkpoints as (
    insert into dbos_system.operation_outputs (
      workflow_uuid, function_id, function_name, output, error,
      started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp
    )
    select
      f.workflow_uuid, f.await_step, 'routeMessage', f.output, f.error,
      f.created_at, v_now, 'portable_json', p_app, v_now
    from finished f
    on conflict (workflow_uuid, function_id) do nothing
  ),
  events (id, step, key, value, heard) as (
    select
      f.workflow_uuid, f.await_step, 'delivered',
      format('{"at":%s,"attempt":%s}', f.last_attempt_at, f.attempt), f.heard
    from finished f
    where p_state = 'acked'
      and f.last_attempt_at is not null
    union all
    select
      f.workflow_uuid, f.await_step,
      case p_state when 'acked' then 'acknowledged' else p_state end,
      format('{"at":%s,"attempt":%s}', v_now, f.attempt), f.heard
    from finished f
  ),
  latest as (
    insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
    select e.id, e.key, e.value, 'portable_json'
    from events e
    where case
      when e.heard then pg_notify('dbos_workflow_events_channel', e.id || '::' || e.key) is not null
      else true
    end
    on conflict (workflow_uuid, key) do update
    set value = excluded.value
  ),
  history as (
    insert into dbos_system.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
    select e.id, e.step, e.key, e.value, 'portable_json'
    from events e
    on conflict (workflow_uuid, function_id, key) do update
    set value = excluded.value
  ),
  consumed as (
    update dbos_system.notifications n
    set consumed = true
    from settled t
    where n.message_uuid = t.message_uuid
  )
  select t.inbox_seq, t.agent_id, t.waiter
  from settled t;
end
$$;
