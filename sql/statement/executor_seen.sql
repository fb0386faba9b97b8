-- name: executor_seen
-- params: text[]
-- rows: none
update openclaw.executor
set seen_at = openclaw.now_ms()
where executor_id = any ($1)
