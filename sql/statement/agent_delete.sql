-- name: agent_delete
-- params: text by, text app, bool legacy, text agent, int8[] match
-- rows: optional
select agent_id, bells
from openclaw.agent_delete($1, $2, $3, $4, $5)
