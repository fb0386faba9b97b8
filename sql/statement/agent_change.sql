-- name: agent_change
-- params: text by, text agent, text change, int8[] match
-- rows: optional
-- $3 is an object: see the function; $4 null: whatever version it has
select agent_id, version, changed, bells
from openclaw.agent_change($1, $2, $3::jsonb, $4)
