-- name: message_fates
-- params: int8[]
-- rows: any
-- effect: none
-- of these places in inboxes, those whose message was handed over or has reached its end
select
  i.inbox_seq, openclaw.message_id(i.sender, i.message_uuid), i.message_uuid, i.agent_id, i.state,
  i.attempt, case when i.state in ('ready', 'leased') then i.last_attempt_at else i.due_at end, i.reason,
  (
    select (o.output::json -> 'response')::text
    from dbos_system.workflow_output o
    where o.workflow_uuid = i.workflow_uuid
      and i.state = 'acked'
  )
from openclaw.inbox i
where i.inbox_seq = any ($1)
  and (i.state not in ('ready', 'leased') or i.handed or (i.state = 'ready' and i.attempt > 0))
order by i.inbox_seq
