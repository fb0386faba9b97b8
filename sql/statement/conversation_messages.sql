-- name: conversation_messages
-- params: text principal, text conversation, int8 after, int4 limit
-- rows: any
-- effect: none
-- as they were said, those behind $3
select m.position, m.message_id, m.role, m.content, m.workflow_uuid, m.created_at
from openclaw.conversation_message m
where m.principal_id = $1
  and m.conversation_id = $2
  and ($3 is null or m.position > $3)
order by m.position
limit $4
