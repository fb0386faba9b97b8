-- name: doctor_role
-- params: none
-- rows: one
-- For gatewayctl doctor: what the role may do, and what it may not but must.
--   0 role           text
--   1 is_super       bool
--   2 bypasses_rls   bool
--   3 may_create     bool  it may change the schema
--   4 missing        text  a table, sequence or function that it may not use; null: none
--   5 may_make       bool  it may make roles, databases or replicas
select
  current_user::text,
  r.rolsuper,
  r.rolbypassrls,
  pg_catalog.has_schema_privilege('openclaw', 'create')
    or pg_catalog.has_schema_privilege('dbos_system', 'create'),
  coalesce(
    (
      select c.oid::pg_catalog.regclass::text
      from pg_catalog.pg_class c
      where c.relnamespace in ('openclaw'::pg_catalog.regnamespace, 'dbos_system'::pg_catalog.regnamespace)
        and case
          when c.relkind not in ('r', 'p', 'S') then false
          when c.relkind = 'S' then not pg_catalog.has_sequence_privilege(c.oid, 'usage')
          when c.relname in ('migration', 'dbos_migrations') then
            not pg_catalog.has_table_privilege(c.oid, 'select')
          else not (
            pg_catalog.has_table_privilege(c.oid, 'select')
            and pg_catalog.has_table_privilege(c.oid, 'insert')
            and pg_catalog.has_table_privilege(c.oid, 'update')
            and pg_catalog.has_table_privilege(c.oid, 'delete')
          )
        end
      order by 1
      limit 1
    ),
    (
      select p.oid::pg_catalog.regprocedure::text
      from pg_catalog.pg_proc p
      where p.pronamespace in ('openclaw'::pg_catalog.regnamespace, 'dbos_system'::pg_catalog.regnamespace)
        and p.proname <> 'migrate'
        and not pg_catalog.has_function_privilege(p.oid, 'execute')
      order by 1
      limit 1
    )
  ),
  r.rolcreaterole or r.rolcreatedb or r.rolreplication
from pg_catalog.pg_roles r
where r.rolname = current_user
