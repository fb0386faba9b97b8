-- What becomes of a delivery: acknowledged, refused, extended, noted as handed over.

-- Confirms deliveries, each by the agent whose it is. For each: 'acked' now, 'already' before, or
-- 'stale': not the message's current delivery, or nobody's, or somebody else's, which look the same. Of
-- two that confirm one delivery the first does. The bells are of those who wait for these messages.
create or replace function openclaw.inbox_ack(
  p_app text,
  p_legacy boolean,
  p_agent text[],
  p_seq bigint[],
  p_delivery text[],
  p_response text[]
)
returns table (ord integer, delivery_id text, outcome text, bell text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_seq bigint[];
  v_delivery text[];
  v_response text[];
  v_first bigint[];
  v_settled bigint[];
begin
  -- by its number and nothing else: the index of what is leased is full of what was
  select array_agg(d.seq), array_agg(d.delivery), array_agg(d.response), array_agg(d.ord)
  into v_seq, v_delivery, v_response, v_first
  from (
    select distinct on (g.seq) g.seq, g.delivery, g.response, g.ord
    from unnest(p_agent, p_seq, p_delivery, p_response)
      with ordinality as g (agent, seq, delivery, response, ord)
    cross join lateral (
      select n.agent_id, n.delivery_id, n.state
      from openclaw.inbox n
      where n.inbox_seq = g.seq
      offset 0
    ) i
    where i.agent_id = g.agent
      and i.delivery_id = g.delivery
      and i.state = 'leased'
    order by g.seq, g.ord
  ) d;

  if v_seq is not null then
    select array_agg(s.inbox_seq)
    into v_settled
    from openclaw.message_settle(p_app, p_legacy, v_seq, v_delivery, 'acked', v_response, null) s;
  end if;

  return query
  select
    g.ord::integer,
    g.delivery,
    case
      when i.inbox_seq = any (v_settled) and g.ord = any (v_first) then 'acked'
      when i.state = 'acked' then 'already'
      else 'stale'
    end,
    (
      select x.host || '/' || x.executor_id
      from openclaw.executor x
      where x.executor_id = i.waiter
        and i.inbox_seq = any (v_settled)
        and g.ord = any (v_first)
    )
  from unnest(p_agent, p_seq, p_delivery) with ordinality as g (agent, seq, delivery, ord)
  left join lateral (
    select n.inbox_seq, n.agent_id, n.delivery_id, n.state, n.waiter
    from openclaw.inbox n
    where n.inbox_seq = g.seq
    offset 0
  ) i
    on i.agent_id = g.agent
    and i.delivery_id = g.delivery
  order by g.ord;
end
$$;

-- Backoff with full jitter: uniform in [0, base * 2^(attempt - 1)], the power bounded by p_max.
create or replace function openclaw.backoff_ms(p_base bigint, p_max bigint, p_attempt integer)
returns bigint
language sql
volatile
parallel safe
as $$
  select pg_catalog.floor(
    pg_catalog.random() * least(p_max, p_base * 2::numeric ^ least(p_attempt - 1, 40))
  )::bigint
$$;

-- A delivery that failed: another try later, or, where the attempts are used up or the recipient
-- wants it so, a dead letter. Shared by refusal and by the end of a lease. What was never handed
-- over counts no attempt. p_expired: only those whose lease has ended, which is looked at again
-- under the lock. Callers have checked whose deliveries these are.
-- Locks: workflow_status in the order of ids, inbox in the order of rank.
create or replace function openclaw.inbox_retry(
  p_app text,
  p_legacy boolean,
  p_seq bigint[],
  p_delivery text[],
  p_handed boolean,
  p_expired boolean,
  p_delay_ms bigint,
  p_dead boolean,
  p_reason text,
  p_base_ms bigint,
  p_max_ms bigint
)
returns table (inbox_seq bigint, agent_id text, state text, attempt integer, due_at bigint, waiter text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_dead bigint[];
  v_dead_delivery text[];
begin
  perform openclaw.message_lock(p_seq);

  return query
  update openclaw.inbox i
  set state = 'ready',
    attempt = i.attempt - case when i.handed or p_handed then 0 else 1 end,
    due_at = v_now + coalesce(p_delay_ms, openclaw.backoff_ms(p_base_ms, p_max_ms, i.attempt)),
    holder = null,
    delivery_id = null,
    handed = false
  from unnest(p_seq, p_delivery) as g (seq, delivery)
  where i.inbox_seq = g.seq
    and i.delivery_id = g.delivery
    and i.state = 'leased'
    and not p_dead
    and (not p_expired or i.due_at <= v_now)
    and i.attempt - case when i.handed or p_handed then 0 else 1 end < i.max_attempts
  returning i.inbox_seq, i.agent_id, i.state, i.attempt, i.due_at, i.waiter;

  select array_agg(g.seq), array_agg(g.delivery)
  into v_dead, v_dead_delivery
  from unnest(p_seq, p_delivery) as g (seq, delivery)
  join openclaw.inbox i on i.inbox_seq = g.seq
  where i.delivery_id = g.delivery
    and i.state = 'leased'
    and (not p_expired or i.due_at <= v_now);

  if v_dead is not null then
    select array_agg(s.inbox_seq)
    into v_dead
    from openclaw.message_settle(
      p_app, p_legacy, v_dead, v_dead_delivery, 'dead',
      array_fill(null::text, array[cardinality(v_dead)]), p_reason
    ) s;

    -- a statement of its own: the one that settles does not see what it has settled
    return query
    select i.inbox_seq, i.agent_id, i.state, i.attempt, i.due_at, i.waiter
    from openclaw.inbox i
    where i.inbox_seq = any (v_dead);
  end if;
end
$$;

-- The recipient refuses a delivery, and so has been handed it: who waits for that hears of it. No
-- row: it is not the current delivery of a message of its.
-- Locks: workflow_status in the order of ids, inbox in the order of rank.
create or replace function openclaw.inbox_nack(
  p_app text,
  p_legacy boolean,
  p_agent text,
  p_seq bigint,
  p_delivery text,
  p_delay_ms bigint,
  p_requeue boolean,
  p_reason text,
  p_base_ms bigint,
  p_max_ms bigint
)
returns table (state text, attempt integer, due_at bigint, due_in_ms bigint, bell text)
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_news boolean;
begin
  perform
  from openclaw.inbox i
  where i.inbox_seq = p_seq
    and i.agent_id = p_agent
    and i.delivery_id = p_delivery;
  if not found then
    return;
  end if;

  perform openclaw.message_lock(array[p_seq]);
  perform
  from openclaw.inbox_handed(array[p_seq], array[p_delivery]);
  v_news := found;

  return query
  select r.state, r.attempt, r.due_at, greatest(r.due_at - openclaw.now_ms(), 0),
    case when v_news or r.state = 'dead' then x.host || '/' || x.executor_id end
  from openclaw.inbox_retry(
    p_app, p_legacy, array[p_seq], array[p_delivery], true, false, p_delay_ms, not p_requeue, p_reason,
    p_base_ms, p_max_ms
  ) r
  left join openclaw.executor x on x.executor_id = r.waiter;
end
$$;

-- Lengthens leases, and notes what was handed over. Returns those still current; the bells are of
-- those who wait for the handing over.
-- Locks: inbox in the order of rank.
create or replace function openclaw.inbox_extend(
  p_agent text,
  p_seq bigint[],
  p_delivery text[],
  p_lease_ms bigint
)
returns table (delivery_id text, lease_expires_at bigint, bell text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_current bigint[];
  v_new bigint[];
  v_new_delivery text[];
begin
  select
    array_agg(c.inbox_seq),
    array_agg(c.inbox_seq) filter (where not c.handed),
    array_agg(c.delivery_id) filter (where not c.handed)
  into v_current, v_new, v_new_delivery
  from (
    select i.inbox_seq, i.delivery_id, i.handed
    from openclaw.inbox i
    join unnest(p_seq, p_delivery) as g (seq, delivery)
      on i.inbox_seq = g.seq
      and i.delivery_id = g.delivery
    where i.agent_id = p_agent
      and i.state = 'leased'
    order by i.rank, i.inbox_seq
    for update of i
  ) c;

  if v_new is not null then
    perform openclaw.inbox_handed(v_new, v_new_delivery);
  end if;

  return query
  update openclaw.inbox i
  set due_at = openclaw.now_ms() + p_lease_ms
  from unnest(v_current) as c (seq)
  where i.inbox_seq = c.seq
  returning
    i.delivery_id,
    i.due_at,
    (
      select x.host || '/' || x.executor_id
      from openclaw.executor x
      where x.executor_id = i.waiter
        and i.inbox_seq = any (v_new)
    );
end
$$;

-- Notes that deliveries were written to the recipient's connection. Rings who waits for that.
-- Locks: inbox in the order of rank.
create or replace function openclaw.inbox_handed(p_seq bigint[], p_delivery text[])
returns table (bell text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_workflow text[];
  v_step integer[];
  v_value text[];
  v_waiter text[];
begin
  with current as (
    select i.inbox_seq
    from openclaw.inbox i
    join unnest(p_seq, p_delivery) as g (seq, delivery)
      on i.inbox_seq = g.seq
      and i.delivery_id = g.delivery
    where i.state = 'leased'
      and not i.handed
    order by i.rank, i.inbox_seq
    for update of i
  ),
  noted as (
    update openclaw.inbox i
    set handed = true
    from current c
    where i.inbox_seq = c.inbox_seq
    returning i.waiter, i.workflow_uuid, i.await_step, i.attempt, i.last_attempt_at
  )
  select
    array_agg(w.workflow_uuid) filter (where w.workflow_uuid is not null),
    array_agg(n.await_step) filter (where w.workflow_uuid is not null),
    array_agg(format('{"at":%s,"attempt":%s}', n.last_attempt_at, n.attempt))
      filter (where w.workflow_uuid is not null),
    array_agg(n.waiter)
  into v_workflow, v_step, v_value, v_waiter
  from noted n
  left join dbos_system.workflow_status w on w.workflow_uuid = n.workflow_uuid;

  if v_workflow is not null then
    perform openclaw.workflow_event(
      v_workflow, v_step, array_fill('delivered'::text, array[cardinality(v_workflow)]), v_value
    );
  end if;

  return query
  select x.host || '/' || x.executor_id
  from openclaw.executor x
  where x.executor_id = any (v_waiter);
end
$$;
