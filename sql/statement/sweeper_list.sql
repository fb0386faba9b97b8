-- name: sweeper_list
-- params: none
-- rows: any
-- effect: none
-- sweepers that have not ended, and those run by cron that ended lately
select
  x.host, x.pid, x.pid_started,
  openclaw.now_ms() - coalesce(x.ended_at, x.seen_at),
  x.ended_at is not null,
  x.client ->> 'machine'
from openclaw.executor x
where x.kind = 'sweeper'
  and (
    x.ended_at is null
    or (x.client ->> 'once' = 'true' and x.ended_at > openclaw.now_ms() - 150000)
  )
