-- name: bell_notify
-- params: text[] hosts, text[] executors
-- rows: any
-- one notification for each host; never in a transaction that writes, which it would make wait for
-- every other that notifies
select pg_notify(openclaw.bell_channel(g.host), string_agg(g.executor, ' '))
from unnest($1, $2) as g (host, executor)
group by g.host
