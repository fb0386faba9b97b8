-- Whether the database's disk takes 8 MiB more: a temporary file of that size, gone at the end. Where it does
-- not, disk_full (53100) says so. It needs no right, changes no row, and writes no log.
create or replace function openclaw.disk_probe()
returns bigint
language sql
set search_path = pg_catalog
set work_mem = '64kB'
set temp_tablespaces = ''
as $$
  with filler as materialized (
    select pg_catalog.repeat('x', 1000) as bytes
    from pg_catalog.generate_series(1, 8400)
  )
  select sum(pg_catalog.length(f.bytes))
  from filler f
$$;
