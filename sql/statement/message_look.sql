-- name: message_look
-- params: text[], int8[]
-- rows: any
-- what became of messages: of each the workflow's outcome, and how far its delivery is
select
  w.workflow_uuid, w.status, coalesce(o.output, w.output), coalesce(o.error, w.error),
  b.inbox_seq, b.state, b.attempt,
  openclaw.metric_attempts(b.attempt, b.delivery_id, b.handed) > 0, b.last_attempt_at,
  openclaw.message_id(w.authenticated_user, w.workflow_uuid)
from unnest($1, $2) as g (id, seq)
join dbos_system.workflow_status w on w.workflow_uuid = g.id
left join dbos_system.workflow_output o on o.workflow_uuid = w.workflow_uuid
left join openclaw.inbox b
  on b.inbox_seq = coalesce(
    nullif(g.seq, 0),
    (
      select openclaw.sent_seq(c.output)
      from dbos_system.operation_outputs c
      where c.workflow_uuid = w.workflow_uuid
        and c.function_name = 'storeMessage'
      order by c.function_id
      limit 1
    )
  )
