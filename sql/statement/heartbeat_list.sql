-- name: heartbeat_list
-- params: text agent, int8 before, text before_id, int4 limit
-- rows: any
-- effect: none
-- the newest first; $2 and $3: those behind this one
select h.workflow_uuid, h.status, h.response::text, h.reason, h.started_at, h.finished_at
from openclaw.heartbeat h
where h.agent_id = $1
  and ($2 is null or (h.finished_at, h.workflow_uuid) < ($2, $3))
order by h.finished_at desc, h.workflow_uuid desc
limit $4
