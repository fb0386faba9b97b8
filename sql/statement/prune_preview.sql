-- name: prune_preview
-- params: text app, int8 retention_ms
-- rows: one
-- effect: none
select messages, workflows, orphans, executors
from openclaw.prune_preview($1, $2)
