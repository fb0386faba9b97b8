-- The oldest transaction of anybody but us, and whether its age could be seen: that of another role's is
-- shown to pg_read_all_stats only. Which the owner of this function has, if deploy/sql/roles.sql was run, and
-- the gateway has not: so it learns a process id and an age, and nobody's statements.
create or replace function openclaw.oldest_transaction()
returns table (pid integer, age_ms bigint, sees_all boolean, owner text)
language sql
stable
security definer
set search_path = pg_catalog
as $$
  select
    o.pid,
    (extract(epoch from (clock_timestamp() - o.xact_start)) * 1000)::bigint,
    pg_has_role('pg_read_all_stats', 'usage'),
    current_user::text
  from (select) as one
  left join lateral (
    select a.pid, a.xact_start
    from pg_stat_activity a
    where a.xact_start is not null
      and a.pid <> pg_backend_pid()
      and a.backend_type = 'client backend'
    order by a.xact_start
    limit 1
  ) o on true
$$;
