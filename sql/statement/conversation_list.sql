-- name: conversation_list
-- params: text principal, text agent, int8 before, text before_id, int4 limit
-- rows: any
-- effect: none
-- the newest first; $3 and $4: those behind this one
select c.conversation_id, c.agent_id, c.workspace_id, c.user_id, c.created_at, c.updated_at
from openclaw.conversation c
where c.principal_id = $1
  and ($2 is null or c.agent_id = $2)
  and ($3 is null or (c.updated_at, c.conversation_id) < ($3, $4))
order by c.updated_at desc, c.conversation_id desc
limit $5
