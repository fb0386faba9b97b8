-- name: migration_probe
-- params: text role
-- rows: one
-- effect: none
-- What a database has, asked so that it can be asked of any database, an empty one too.
--   0 has_dbos      bool  a DBOS schema of the configured name
--   1 has_settings  bool
--   2 has_list      bool  the list of applied migrations
--   3 is_foreign    bool  a schema of that name that is not DBOS'
--   4 has_role      bool
--   5 may_create    bool  the role that asks may create schemas here
select
  to_regclass('dbos_system.dbos_migrations') is not null,
  to_regclass('openclaw.setting') is not null,
  to_regclass('openclaw.migration') is not null,
  to_regclass('dbos_system.workflow_status') is not null
    and to_regclass('dbos_system.dbos_migrations') is null,
  exists (
    select
    from pg_catalog.pg_roles
    where rolname = $1
  ),
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create'),
  (
    select min(pg_catalog.pg_get_userbyid(n.nspowner)::text)
    from pg_catalog.pg_namespace n
    where n.nspname in ('openclaw', 'dbos_system')
      and not pg_catalog.pg_has_role(n.nspowner, 'usage')
  )
