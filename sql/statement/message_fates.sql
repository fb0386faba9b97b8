-- name: message_fates
-- params: int8[]
-- rows: any
-- effect: none
-- of these places in inboxes, those whose message was handed over, be it before, or has reached its end
select
  i.inbox_seq, openclaw.message_id(i.sender, i.message_uuid), i.message_uuid, i.agent_id, i.state,
  i.attempt, case when i.state in ('ready', 'leased') then i.last_attempt_at else i.due_at end, i.reason,
  (
    select openclaw.reply_of(o.output)
    from dbos_system.operation_outputs o
    where o.workflow_uuid = i.workflow_uuid
      and o.function_id = i.await_step
      and i.state = 'acked'
  )
from openclaw.inbox i
where i.inbox_seq = any ($1)
  and (
    i.state not in ('ready', 'leased')
    or openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) > 0
  )
order by i.inbox_seq
