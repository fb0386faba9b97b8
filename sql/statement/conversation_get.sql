-- name: conversation_get
-- params: text principal, text conversation
-- rows: optional
-- effect: none
select c.conversation_id, c.agent_id, c.workspace_id, c.user_id, c.created_at, c.updated_at
from openclaw.conversation c
where c.principal_id = $1
  and c.conversation_id = $2
