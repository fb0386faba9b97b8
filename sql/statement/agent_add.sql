-- name: agent_add
-- params: text agent, text app, text version, text by
-- rows: one
-- no row: there is one of this name
select a.made
from openclaw.agent_provision($1, $2, $3, $4) as a (made)
where a.made
