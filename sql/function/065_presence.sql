-- Connections, the living first and the latest of these first, then those that ended in the last five
-- minutes. One is suspect when its last sign of life is older than p_suspect_ms. p_watcher wants to hear of
-- changes from now on; null: nobody does. p_viewer null: all are seen; else its own, and the agents that it
-- may write to, where it may write (p_sends), without what is said of their machines. Each newcomer asks
-- for a few, so what is not answered is not read either (executor_connected).
create or replace function openclaw.presence_list(
  p_suspect_ms bigint,
  p_limit integer,
  p_watcher text,
  p_viewer text,
  p_sends boolean
)
returns table (
  executor_id text,
  principal_id text,
  host text,
  client text,
  started_at bigint,
  seen_at bigint,
  state text
)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_count bigint;
begin
  if p_watcher is not null then
    update openclaw.executor x
    set watches_presence = true
    where x.executor_id = p_watcher
      and not x.watches_presence;
  end if;

  return query
  select
    x.executor_id, x.principal_id,
    case when p_viewer is null then x.host end,
    case when p_viewer is null or x.principal_id = p_viewer then x.client::text end,
    x.started_at, x.seen_at,
    case when x.seen_at < v_now - p_suspect_ms then 'suspect' else 'online' end
  from openclaw.executor x
  where x.ended_at is null
    and x.kind = 'session'
    and x.principal_id is not null
    and (
      p_viewer is null
      or x.principal_id = p_viewer
      or p_sends and exists (
        select
        from openclaw.agent a
        where a.agent_id = x.principal_id
          and (a.allow_from is null or p_viewer = any (a.allow_from))
      )
    )
  order by x.started_at desc
  limit p_limit;
  get diagnostics v_count = row_count;

  if v_count >= p_limit then
    return;
  end if;
  return query
  select
    x.executor_id, x.principal_id,
    case when p_viewer is null then x.host end,
    case when p_viewer is null or x.principal_id = p_viewer then x.client::text end,
    x.started_at, x.seen_at, 'offline'
  from openclaw.executor x
  where x.ended_at > v_now - 300000
    and x.kind = 'session'
    and x.principal_id is not null
    and (
      p_viewer is null
      or x.principal_id = p_viewer
      or p_sends and exists (
        select
        from openclaw.agent a
        where a.agent_id = x.principal_id
          and (a.allow_from is null or p_viewer = any (a.allow_from))
      )
    )
  order by x.ended_at, x.started_at desc
  limit p_limit - v_count;
end
$$;

-- Whether sessions have come, gone or become suspect since p_since, and who wants to hear of it. A
-- caller asks again with the time of the answer before; what was committed late is seen by the
-- second that is looked at twice. p_suspect_ms: silent for so long is suspect.
create or replace function openclaw.presence_changes(p_since bigint, p_suspect_ms bigint)
returns table (now_ms bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_since constant bigint := p_since - 1000;
  v_bells text[];
begin
  select array_agg(x.host || '/' || x.executor_id)
  into v_bells
  from openclaw.executor x
  where x.watches_presence
    and x.ended_at is null;

  if v_bells is not null and not exists (
    select
    from openclaw.executor x
    where x.ended_at is null
      and x.kind = 'session'
      and (
        x.started_at >= v_since
        or x.seen_at between v_since - p_suspect_ms and v_now - p_suspect_ms
      )
  ) and not exists (
    select
    from openclaw.executor x
    where x.ended_at >= v_since
      and x.kind = 'session'
  ) then
    v_bells := null;
  end if;
  return query select v_now, coalesce(v_bells, '{}');
end
$$;

-- A session makes itself known and is told who else is here: one call for two, as each connection
-- begins with both. Locks: its row.
create or replace function openclaw.session_open(
  p_executor text,
  p_kind text,
  p_host text,
  p_pid integer,
  p_pid_started bigint,
  p_principal text,
  p_client text,
  p_suspect_ms bigint,
  p_limit integer,
  p_watcher text,
  p_viewer text,
  p_sends boolean
)
returns table (
  executor_id text,
  principal_id text,
  host text,
  client text,
  started_at bigint,
  seen_at bigint,
  state text
)
language plpgsql
set search_path = pg_catalog
set plan_cache_mode = force_generic_plan
as $$
begin
  perform openclaw.executor_register(p_executor, p_kind, p_host, p_pid, p_pid_started, p_principal, p_client);
  return query
  select l.executor_id, l.principal_id, l.host, l.client, l.started_at, l.seen_at, l.state
  from openclaw.presence_list(p_suspect_ms, p_limit, p_watcher, p_viewer, p_sends) l;
end
$$;
