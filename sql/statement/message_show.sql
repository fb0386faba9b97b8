-- name: message_show
-- params: text message
-- rows: optional
-- effect: none
-- one message, found by its workflow's checkpoint; only one that a DBOS client sent is searched for
select
  i.message_uuid, openclaw.message_id(i.sender, i.message_uuid), i.inbox_seq, i.agent_id, i.sender,
  i.state, i.attempt, i.max_attempts, i.priority, i.accepted_at, i.due_at, i.expires_at,
  i.last_attempt_at, i.reason, i.workflow_uuid, w.status, i.handed, i.expects_reply, i.holder, n.message,
  coalesce(o.output, w.output)
from openclaw.inbox i
left join dbos_system.notifications n on n.message_uuid = i.message_uuid
left join dbos_system.workflow_status w on w.workflow_uuid = i.workflow_uuid
left join dbos_system.workflow_output o on o.workflow_uuid = i.workflow_uuid
where i.inbox_seq = coalesce(
  (
    select openclaw.sent_seq(c.output)
    from dbos_system.operation_outputs c
    where c.workflow_uuid = $1
      and c.function_name = 'storeMessage'
    order by c.function_id
    limit 1
  ),
  (
    select d.inbox_seq
    from openclaw.inbox d
    where d.message_uuid = $1
    limit 1
  )
)
