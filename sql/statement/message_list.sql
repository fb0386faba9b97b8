-- name: message_list
-- params: text inbox, text sender, text[] states, int8 since, int8 before, int8 limit
-- rows: any
-- effect: none
-- messages, the newest first; a parameter that is null does not count; before: the inbox_seq of the last one of the page before
select
  i.message_uuid, openclaw.message_id(i.sender, i.message_uuid), i.inbox_seq, i.agent_id, i.sender,
  i.state, i.attempt, i.max_attempts, i.priority, i.accepted_at, i.due_at, i.expires_at,
  i.last_attempt_at, i.reason, i.workflow_uuid
from openclaw.inbox i
where ($1::text is null or i.agent_id = $1)
  and ($2::text is null or i.sender = $2)
  and ($3::text[] is null or i.state = any ($3))
  and ($4::bigint is null or i.accepted_at >= openclaw.now_ms() - $4)
  and ($5::bigint is null or i.inbox_seq < $5)
order by i.inbox_seq desc
limit $6
