-- name: dbos_notify
-- params: text[], text[]
-- rows: any
-- wakes launched DBOS applications; in a statement of its own, behind the commit that it tells of
select pg_notify(n.channel, n.payload)
from unnest($1, $2) as n (channel, payload)
where octet_length(n.payload) < 8000
