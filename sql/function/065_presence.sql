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
