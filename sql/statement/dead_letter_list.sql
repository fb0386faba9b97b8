-- name: dead_letter_list
-- params: bool all, text recipient, text sender, text inbox, text id, int8 before, int8 limit
-- rows: any
-- effect: none
-- the newest first; $4 of one inbox, $5 of one id, $6 before this place; with $5 the message, too
select
  i.message_uuid, openclaw.message_id(i.sender, i.message_uuid), i.agent_id, i.inbox_seq, i.sender,
  i.workflow_uuid, i.attempt, i.max_attempts, i.reason, i.accepted_at, i.due_at, i.last_attempt_at,
  n.serialization, n.message
from openclaw.inbox i
left join dbos_system.notifications n
  on n.message_uuid = i.message_uuid
  and $5::text is not null
where i.state = 'dead'
  and ($1 or i.agent_id = $2 or i.sender = $3)
  and ($4::text is null or i.agent_id = $4)
  and ($5::text is null or i.message_uuid = $5)
  and ($6::bigint is null or i.inbox_seq < $6)
order by i.inbox_seq desc
limit $7
