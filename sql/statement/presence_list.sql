-- name: presence_list
-- params: int8 suspect, int4 limit, text watcher, text viewer, bool sends
-- rows: any
select executor_id, principal_id, host, client, started_at, seen_at, state
from openclaw.presence_list($1, $2, $3, $4, $5)
