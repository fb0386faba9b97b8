-- name: doctor_locks
-- params: none
-- rows: optional
-- effect: none
-- who keeps our tables from being read or written: held, and by nobody of ours, whose statements lock rows only
select l.pid, l.mode, format('%s.%s', n.nspname, c.relname) as held
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where l.granted
  and l.locktype = 'relation'
  and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  and c.relkind = 'r'
  and n.nspname in ('openclaw', 'dbos_system')
order by l.mode = 'AccessExclusiveLock' desc, l.pid
limit 1
