-- name: sweeper_elsewhere
-- params: text, text, int8
-- rows: any
-- effect: none
-- sweepers of this host's name that live on another machine
select openclaw.now_ms() - x.seen_at
from openclaw.executor x
where x.host = $1
  and x.kind = 'sweeper'
  and x.ended_at is null
  and x.client ->> 'machine' <> $2
  and x.seen_at > openclaw.now_ms() - $3
