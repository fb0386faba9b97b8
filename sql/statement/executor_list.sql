-- name: executor_list
-- params: text
-- rows: any
-- effect: none
select executor_id, kind, pid, pid_started
from openclaw.executor
where host = $1
  and ended_at is null
