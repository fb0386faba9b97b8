-- name: prune
-- params: text app, int8 retention_ms, int4 limit
-- rows: one
select messages, workflows, orphans, executors, busy
from openclaw.prune($1, $2, $3)
