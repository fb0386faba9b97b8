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
--   6 owner         text  of schemas that the role that asks may not change; null: none
--   7 is_granted    bool  the role $1 has all the rights that a migration gives it
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
  ),
  exists (
    select
    from pg_catalog.pg_roles r
    where r.rolname = $1
      and not exists (
        select
        from pg_catalog.pg_namespace n
        where n.nspname in ('openclaw', 'dbos_system')
          and not pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage')
      )
      and not exists (
        select
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('openclaw', 'dbos_system')
          and case c.relkind
            when 'r' then not (
              pg_catalog.has_table_privilege(r.oid, c.oid, 'select')
              and (
                c.relname = 'migration'
                or pg_catalog.has_table_privilege(r.oid, c.oid, 'insert')
                and pg_catalog.has_table_privilege(r.oid, c.oid, 'update')
                and pg_catalog.has_table_privilege(r.oid, c.oid, 'delete')
              )
            )
            when 'S' then not pg_catalog.has_sequence_privilege(r.oid, c.oid, 'usage')
          end
      )
      and not exists (
        select
        from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('openclaw', 'dbos_system')
          and p.proname <> 'migrate'
          and not pg_catalog.has_function_privilege(r.oid, p.oid, 'execute')
      )
  )
