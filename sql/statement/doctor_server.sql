-- name: doctor_server
-- params: none
-- rows: one
-- For gatewayctl doctor: how the server runs, as far as this role may see it.
--   0 fsync               bool
--   1 full_page_writes    bool
--   2 synchronous_commit  text  of this role in this database
--   3 connections         int8  there are
--   4 connections_max     int8  for roles like this one
--   5 oldest_ms           int8  the longest transaction, null: none that is visible
--   6 oldest_pid          int4
--   7 backend_pid         int4  our own
--   8 prepared            int8  transactions prepared and forgotten
select
  pg_catalog.current_setting('fsync')::bool,
  pg_catalog.current_setting('full_page_writes')::bool,
  pg_catalog.current_setting('synchronous_commit'),
  (
    select count(*)
    from pg_catalog.pg_stat_activity
    where backend_type = 'client backend'
  ),
  pg_catalog.current_setting('max_connections')::int8
    - pg_catalog.current_setting('superuser_reserved_connections')::int8,
  (extract(epoch from (pg_catalog.clock_timestamp() - o.xact_start)) * 1000)::int8,
  o.pid,
  pg_catalog.pg_backend_pid(),
  (
    select count(*)
    from pg_catalog.pg_prepared_xacts
  )
from (select) as one
left join lateral (
  select a.xact_start, a.pid
  from pg_catalog.pg_stat_activity a
  where a.xact_start is not null
    and a.pid <> pg_catalog.pg_backend_pid()
    and a.backend_type = 'client backend'
  order by a.xact_start
  limit 1
) o on true
