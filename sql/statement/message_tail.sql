-- name: message_tail
-- params: int8 after, text inbox, text sender, int8 limit
-- rows: any
-- effect: none
-- messages behind a place, in the order of acceptance
select
  i.message_uuid, openclaw.message_id(i.sender, i.message_uuid), i.inbox_seq, i.agent_id, i.sender,
  i.state, i.attempt, i.max_attempts, i.priority, i.accepted_at, i.due_at, i.expires_at,
  i.last_attempt_at, i.reason, i.workflow_uuid
from openclaw.inbox i
where i.inbox_seq > $1
  and ($2::text is null or i.agent_id = $2)
  and ($3::text is null or i.sender = $3)
order by i.inbox_seq
limit $4
