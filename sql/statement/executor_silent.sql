-- name: executor_silent
-- params: text, int8
-- rows: any
select executor_id
from openclaw.executor
where host <> $1
  and ended_at is null
  and seen_at < openclaw.now_ms() - $2
