-- name: doctor_server
-- params: none
-- rows: one
-- For gatewayctl doctor: how the server runs, as far as this role may see it.
--   0 fsync               bool
--   1 full_page_writes    bool
--   2 synchronous_commit  text  of this role in this database
--   3 connections         int8  there are, of all roles
--   4 connections_max     int8  for roles like this one
--   5 backend_pid         int4  our own
--   6 prepared            int8  transactions prepared and forgotten
--   7 behind              int8  how many transactions began since the oldest that writes, of all roles
--   8 behind_pid          int4  whose that is
select
  pg_catalog.current_setting('fsync')::bool,
  pg_catalog.current_setting('full_page_writes')::bool,
  pg_catalog.current_setting('synchronous_commit'),
  (
    select sum(d.numbackends)::int8
    from pg_catalog.pg_stat_database d
  ),
  pg_catalog.current_setting('max_connections')::int8
    - pg_catalog.current_setting('superuser_reserved_connections')::int8,
  pg_catalog.pg_backend_pid(),
  (
    select count(*)
    from pg_catalog.pg_prepared_xacts
  ),
  w.xmax::text::int8 - w.xmin::text::int8,
  (
    select l.pid
    from pg_catalog.pg_locks l
    where l.locktype = 'transactionid'
      and l.granted
      and l.transactionid = w.xmin::xid
    limit 1
  )
from (
  select
    pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) as xmin,
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) as xmax
) as w
