-- name: probe
-- params: text setting
-- rows: one
-- effect: none
-- For /readyz and /health, in one round trip.
--   0 value         text  of the setting; null: there is none
--   1 is_read_only  bool  nothing can be accepted: a standby, or default_transaction_read_only
--   2 dbos_version  int   null: the migration of the DBOS schema was never finished
select
  (
    select s.value
    from openclaw.setting s
    where s.name = $1
  ),
  pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only')::bool,
  (
    select max(m.version)
    from dbos_system.dbos_migrations m
  )
