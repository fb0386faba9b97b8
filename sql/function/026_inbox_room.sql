-- How many messages an inbox takes: INBOX_LIMIT, exactly.

-- Inboxes share their locks: a batch to a thousand inboxes must not fill the server's table of locks.
create or replace function openclaw.inbox_bucket(p_agent text)
returns integer
language sql
immutable
parallel safe
as $$
  select (pg_catalog.hashtextextended(p_agent, 0) & 63)::integer
$$;

-- Gives each of p_wanted messages a number, and says whether the bound leaves them room.
create or replace function openclaw.inbox_arrive(p_agent text, p_limit bigint, p_wanted bigint)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog
as $$
declare
  v_arrival bigint := nextval('openclaw.inbox_arrival');
begin
  if p_wanted > 1 then
    v_arrival := (select max(nextval('openclaw.inbox_arrival')) from generate_series(2, p_wanted));
  end if;
  return v_arrival + (select b.base from openclaw.inbox_bound b where b.agent_id = p_agent) <= p_limit;
end
$$;

-- Counts an inbox, for p_wanted more. A full one keeps nobody from its bucket: that it is full shows
-- without the lock.
-- Locks: the advisory lock of the inbox's bucket, exclusively; inbox_bound.
create or replace function openclaw.inbox_counted(p_agent text, p_limit bigint, p_wanted bigint)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog
as $$
declare
  v_worth_keeping constant bigint := 1000;
  v_depth bigint;
  v_alone boolean := false;
begin
  loop
    select count(*)
    into v_depth
    from (
      select
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'ready'
      union all
      select
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'leased'
      limit p_limit
    ) live;
    exit when v_alone or v_depth >= p_limit;
    perform pg_advisory_xact_lock(hashtext('openclaw.inbox'), openclaw.inbox_bucket(p_agent));
    v_alone := true;
  end loop;

  if v_alone then
    perform openclaw.inbox_arrive(p_agent, p_limit, p_wanted);
    if p_limit - v_depth - p_wanted >= v_worth_keeping then
      insert into openclaw.inbox_bound as b (agent_id, base)
      values (p_agent, v_depth + p_wanted - (select last_value from openclaw.inbox_arrival))
      on conflict (agent_id) do update
      set base = excluded.base;
    end if;
  end if;
  return p_limit - v_depth;
end
$$;

-- How many more messages an inbox takes, asked before p_wanted are stored in the same transaction. Exact:
-- however many send at once, together they never exceed the limit.
--
-- Who need not count shares the bucket's lock until its commit; who counts has it alone, so that
-- nothing is under way that a count cannot see, and what follows takes its turn. What was counted bounds
-- the depth from then on (inbox_bound), so one message in a thousand is counted while there is room.
-- Locks: the advisory lock of the inbox's bucket, before the caller locks anything else; inbox_bound.
create or replace function openclaw.inbox_room(p_agent text, p_limit bigint, p_wanted bigint)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog
as $$
begin
  begin
    perform pg_advisory_xact_lock_shared(hashtext('openclaw.inbox'), openclaw.inbox_bucket(p_agent));
    if openclaw.inbox_arrive(p_agent, p_limit, p_wanted) then
      return p_wanted;
    end if;
    -- to give the shared lock back: two who kept it and waited to be alone would wait for each other
    raise exception using errcode = 'OC000';
  exception
    when sqlstate 'OC000' then
      return openclaw.inbox_counted(p_agent, p_limit, p_wanted);
  end;
end
$$;

-- The same for several inboxes.
-- Locks: as inbox_room, in the order of buckets.
create or replace function openclaw.inbox_rooms(p_agent text[], p_limit bigint[], p_wanted bigint[])
returns table (agent_id text, room bigint)
language plpgsql
volatile
set search_path = pg_catalog
as $$
declare
  v_bucket integer;
  v_of integer[];
  v_one integer;
begin
  for v_bucket, v_of in
    select openclaw.inbox_bucket(a.agent_id), array_agg(a.ord)
    from unnest(p_agent) with ordinality as a (agent_id, ord)
    group by 1
    order by 1
  loop
    begin
      perform pg_advisory_xact_lock_shared(hashtext('openclaw.inbox'), v_bucket);
      foreach v_one in array v_of loop
        if openclaw.inbox_arrive(p_agent[v_one], p_limit[v_one], p_wanted[v_one]) is not true then
          raise exception using errcode = 'OC000';
        end if;
      end loop;
      return query select p_agent[o], p_wanted[o] from unnest(v_of) as o;
    exception
      when sqlstate 'OC000' then
        return query
        select p_agent[o], openclaw.inbox_counted(p_agent[o], p_limit[o], p_wanted[o])
        from unnest(v_of) as o;
    end;
  end loop;
end
$$;
