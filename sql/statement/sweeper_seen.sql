-- name: sweeper_seen
-- params: none
-- rows: one
-- how long ago a sweeper was last seen, null: never; and how many there are now
select
  openclaw.now_ms() - max(x.seen_at),
  count(*) filter (where x.ended_at is null)
from openclaw.executor x
where x.kind = 'sweeper'
