-- SPDX-License-Identifier: MIT
--
-- Lets `npx dbos workflow …` in where the gateway's schema is called dbos_system: that command line
-- only knows the schema dbos, so this makes one of that name, of views. As the owner of the database:
--
--   psql -X -v ON_ERROR_STOP=1 -f dbos_alias.sql
--
-- May be run again, and is to be after a migration. Refuses a database with a schema dbos that is a
-- system database of its own. Do not launch an application of DBOS with that schema name: give it
-- systemDatabaseSchemaName 'dbos_system'.
begin;
create schema if not exists dbos;
do $$
declare
  v_table text;
begin
  for v_table in
    select c.relname
    from pg_catalog.pg_class c
    where c.relnamespace = 'dbos_system'::pg_catalog.regnamespace
      and c.relkind = 'r'
    order by c.relname
  loop
    execute format('create or replace view dbos.%I as select * from dbos_system.%I', v_table, v_table);
  end loop;
end
$$;
commit;
