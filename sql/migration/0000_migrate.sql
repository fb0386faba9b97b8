-- SPDX-License-Identifier: MIT
--
-- How a database comes to the present schema: gatewayctl migrate runs this file, which may be run
-- any number of times, and then calls openclaw.migrate() with all others. One migration is one
-- transaction: it is all there, or none of it.

select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('openclaw.migrate', 0));

create schema if not exists openclaw;

-- which files of sql/migration this database has seen
create table if not exists openclaw.migration (
  name text primary key,
  applied_at bigint not null default (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint
);

-- Brings the database to the present schema, whatever it has, and says what was done, a row each.
-- The caller has refused what this cannot bring forward. Called again it does what is left, which
-- after a success is nothing: the functions are made anew only where the digest differs.
--
--   p_dbos      makes the DBOS schema where there is none
--   p_upgrade   NNN_…: makes version NNN of a DBOS schema of version NNN - 1
--   p_name      the gateway's own, each run once
--   p_function  all functions, in order; p_digest names them together
--   p_setting   what functions and programs read of the configuration
--   p_role      who may use it all without owning it; null: nobody else
--
-- Two at once take turns. What the gateway has in use is waited for p_lock_timeout long.
-- Locks: the advisory lock first, then whatever a script takes.
create or replace function openclaw.migrate(
  p_lock_timeout text,
  p_dbos text,
  p_upgrade_names text[],
  p_upgrades text[],
  p_names text[],
  p_scripts text[],
  p_functions text[],
  p_digest text,
  p_setting_names text[],
  p_setting_values text[],
  p_role text
)
returns table (did text, what text)
language plpgsql
set search_path = pg_catalog
as $migrate$
#variable_conflict use_column
declare
  -- the first is replaced by the configured name when this file is loaded, the second is not
  v_schema constant text := 'dbos_system';
  v_placeholder constant text := '\mdbos_' || 'system\M';
  v_version bigint;
  v_functions_due boolean;
  v_conflict boolean := false;
  v_before oid[];
  v_before_xmin xid[];
  v_item record;
  v_applied text[] := '{}';
begin
  perform set_config('lock_timeout', '0', true);
  perform pg_advisory_xact_lock(hashtextextended('openclaw.migrate', 0));
  perform set_config('lock_timeout', p_lock_timeout, true);

  -- the DBOS schema
  if to_regclass(format('%I.dbos_migrations', v_schema)) is null then
    execute regexp_replace(p_dbos, v_placeholder, v_schema, 'g');
    did := 'created';
    what := format('schema %s, a DBOS system database of version 123', v_schema);
    return next;
  else
    select max(m.version)
    into v_version
    from dbos_system.dbos_migrations m;
    for v_item in
      select u.name, u.script
      from unnest(p_upgrade_names, p_upgrades) with ordinality as u (name, script, ord)
      where substring(u.name from '^[0-9]+')::bigint > v_version
      order by u.ord
    loop
      execute regexp_replace(v_item.script, v_placeholder, v_schema, 'g');
      did := 'upgraded';
      what := format('schema %s by %s', v_schema, v_item.name);
      v_applied := v_applied || what;
      return next;
    end loop;
  end if;

  -- the gateway's own
  for v_item in
    select s.name, s.script
    from unnest(p_names, p_scripts) with ordinality as s (name, script, ord)
    where not exists (select from openclaw.migration m where m.name = s.name)
    order by s.ord
  loop
    execute regexp_replace(v_item.script, v_placeholder, v_schema, 'g');
    insert into openclaw.migration (name)
    values (v_item.name);
    did := 'applied';
    what := v_item.name;
    v_applied := v_applied || what;
    return next;
  end loop;

  -- functions: replaced in place, so that running programs go on; only where a signature has
  -- changed are they dropped first
  v_functions_due := not exists (
    select
    from openclaw.setting s
    where s.name = 'functions_digest'
      and s.value = p_digest
  );
  if v_functions_due then
    select array_agg(p.oid), array_agg(p.xmin)
    into v_before, v_before_xmin
    from pg_proc p
    where p.pronamespace = 'openclaw'::regnamespace;

    begin
      for v_item in
        select f.script
        from unnest(p_functions) with ordinality as f (script, ord)
        order by f.ord
      loop
        execute regexp_replace(v_item.script, v_placeholder, v_schema, 'g');
      end loop;
    exception
      when invalid_function_definition then
        v_conflict := true;
    end;

    if v_conflict then
      for v_item in
        select p.oid::regprocedure::text as signature
        from pg_proc p
        where p.pronamespace = 'openclaw'::regnamespace
          and p.proname <> 'migrate'
          and not exists (
            select
            from pg_depend d
            where d.refclassid = 'pg_proc'::regclass
              and d.refobjid = p.oid
          )
      loop
        execute format('drop function %s', v_item.signature);
      end loop;
      for v_item in
        select f.script
        from unnest(p_functions) with ordinality as f (script, ord)
        order by f.ord
      loop
        execute regexp_replace(v_item.script, v_placeholder, v_schema, 'g');
      end loop;
    end if;

    -- an older signature beside the new one would make calls ambiguous
    for v_item in
      select p.oid::regprocedure::text as signature
      from pg_proc p
      join unnest(v_before, v_before_xmin) as b (oid, xmin)
        on b.oid = p.oid
        and b.xmin = p.xmin
      where exists (
        select
        from pg_proc n
        where n.pronamespace = p.pronamespace
          and n.proname = p.proname
          and not exists (
            select
            from unnest(v_before, v_before_xmin) as c (oid, xmin)
            where c.oid = n.oid
              and c.xmin = n.xmin
          )
      )
    loop
      execute format('drop function %s', v_item.signature);
      did := 'dropped';
      what := v_item.signature;
      return next;
    end loop;

    did := 'created';
    what := format('functions %s', left(p_digest, 12));
    return next;
  end if;

  if v_functions_due or v_applied <> '{}' then
    insert into openclaw.audit (principal_id, act, detail)
    values (
      'db:' || session_user, 'migrate',
      jsonb_build_object('applied', v_applied, 'functions', p_digest)
    );
  end if;

  insert into openclaw.setting as s (name, value)
  select g.name, g.value
  from unnest(p_setting_names || 'functions_digest'::text, p_setting_values || p_digest)
    as g (name, value)
  on conflict (name) do update
  set value = excluded.value
  where s.value <> excluded.value;

  -- an official SDK's later migrations, too, make objects that the gateway must be able to use
  if p_role is not null then
    execute format('grant usage on schema openclaw, %I to %I', v_schema, p_role);
    execute format(
      'grant select, insert, update, delete on all tables in schema openclaw, %I to %I', v_schema, p_role
    );
    execute format('grant usage, select on all sequences in schema openclaw, %I to %I', v_schema, p_role);
    execute format('grant execute on all functions in schema openclaw, %I to %I', v_schema, p_role);
    execute format('revoke insert, update, delete on openclaw.migration from %I', p_role);
    execute format('revoke execute on function openclaw.migrate from %I', p_role);
    did := 'granted';
    what := format('use of both schemas to %s', p_role);
    return next;
  end if;
end
$migrate$;

revoke execute on function openclaw.migrate from public;
