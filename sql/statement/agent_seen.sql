-- name: agent_seen
-- params: text viewer, bool sends
-- rows: any
-- effect: none
-- the agents that $1 knows of (null: all): itself, and where it may write ($2) those that it may write to
select a.agent_id, a.name, a.created_at
from openclaw.agent a
where $1::text is null
  or a.agent_id = $1
  or $2 and (a.allow_from is null or $1 = any (a.allow_from))
order by a.agent_id
