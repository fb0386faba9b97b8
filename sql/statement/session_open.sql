-- name: session_open
-- params: text, text, text, int4, int8, text, text, int8 suspect, int4 limit, text watcher, text viewer, bool sends
-- rows: any
-- executor_register and presence_list
select executor_id, principal_id, host, client, started_at, seen_at, state
from openclaw.session_open($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
