-- name: doctor_vacuum
-- params: none
-- rows: one
-- effect: none
-- For gatewayctl doctor: whether dead rows are cleaned away.
--   0 is_on      bool   autovacuum, and the counting it needs
--   1 off_for    text   a table of ours that it leaves out; null: none
--   2 worst      text   the table with the most dead rows for its living ones; null: none has many
--   3 dead       int8   its dead rows
--   4 live       int8   its living rows
--   5 xid_age    int8   transactions since the database was frozen
--   6 xid_limit  int8   at which the server freezes by force
select
  pg_catalog.current_setting('autovacuum')::bool and pg_catalog.current_setting('track_counts')::bool,
  (
    select min(c.oid::pg_catalog.regclass::text)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('openclaw', 'dbos_system')
      and exists (
        select
        from pg_catalog.pg_options_to_table(c.reloptions) o
        where o.option_name = 'autovacuum_enabled'
          and not o.option_value::bool
      )
  ),
  w.name, w.dead, w.live,
  (
    select pg_catalog.age(d.datfrozenxid)::int8
    from pg_catalog.pg_database d
    where d.datname = pg_catalog.current_database()
  ),
  pg_catalog.current_setting('autovacuum_freeze_max_age')::int8
from (select) as one
left join lateral (
  select s.relid::pg_catalog.regclass::text as name, s.n_dead_tup as dead, s.n_live_tup as live
  from pg_catalog.pg_stat_user_tables s
  where s.schemaname in ('openclaw', 'dbos_system')
    and s.n_dead_tup > 100000
    and s.n_dead_tup > s.n_live_tup
  order by s.n_dead_tup desc
  limit 1
) w on true
