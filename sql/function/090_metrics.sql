-- Counting for /metrics. Nothing here is called by the transitions of the hot path.

-- The upper bounds of a histogram of durations, in milliseconds; one more bucket has no bound.
create or replace function openclaw.metric_buckets()
returns bigint[]
language sql
immutable
parallel safe
as $$ select array[5, 10, 50, 100, 500, 1000, 5000, 10000, 60000, 600000, 3600000]::bigint[] $$;

-- Deliveries of a message that count: those that were handed over.
create or replace function openclaw.metric_attempts(p_attempt integer, p_delivery text, p_handed boolean)
returns integer
language sql
immutable
parallel safe
as $$ select p_attempt - case when p_delivery is not null and not p_handed then 1 else 0 end $$;

-- Keeps what the rows of these messages would have been counted for, by whoever is about to delete
-- them (p_deleted) or to make them unsettled. The caller has locked them.
-- Locks: metric_fold (share), so that no fold counts them too.
create or replace function openclaw.metric_keep(p_seq bigint[], p_deleted boolean)
returns void
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
as $$
declare
  v_fold openclaw.metric_fold;
begin
  if coalesce(cardinality(p_seq), 0) = 0 then
    return;
  end if;
  select f.*
  into v_fold
  from openclaw.metric_fold f
  for share;

  insert into openclaw.metric_added (name, labels, value)
  select c.name, c.labels, sum(c.value)
  from openclaw.inbox i
  cross join lateral (
    values
      (
        'messages_accepted', '{}'::text[],
        case when p_deleted and i.inbox_seq > v_fold.accepted_seq then 1 else 0 end
      ),
      ('messages_settled', array[i.state], case when i.due_at >= v_fold.settled_at then 1 else 0 end),
      (
        'messages_delivered', '{}'::text[],
        case when i.due_at >= v_fold.settled_at
          then openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed)
          else 0
        end
      ),
      (
        'messages_redelivered', '{}'::text[],
        case when i.due_at >= v_fold.settled_at
          then greatest(openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) - 1, 0)
          else 0
        end
      )
  ) as c (name, labels, value)
  where i.inbox_seq = any (p_seq)
    and i.state in ('acked', 'dead', 'expired', 'withdrawn')
  group by 1, 2
  having sum(c.value) > 0;
end
$$;

-- Moves the bounds, and adds up what lies below them now: p_limit rows of a kind at most. p_slack_ms is how
-- long a transaction may take between looking at the clock and its first write. Returns how many rows
-- were added up. Nothing where another did it less than p_pause_ms ago, or does it now.
-- Locks: metric_fold, then metric.
create or replace function openclaw.metric_fold(
  p_app text,
  p_slack_ms bigint,
  p_pause_ms bigint,
  p_limit integer
)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  -- before this transaction has an id
  v_now constant bigint := openclaw.now_ms();
  v_seen constant bigint := (select s.last_value from openclaw.inbox_inbox_seq_seq s);
  v_xid xid8;
  v_fold openclaw.metric_fold;
  v_seq bigint;
  v_until bigint;
  v_count bigint;
  v_done bigint := 0;
begin
  select f.*
  into v_fold
  from openclaw.metric_fold f
  where f.folded_at <= v_now - p_pause_ms
  for update skip locked;
  if not found then
    return 0;
  end if;
  v_xid := pg_current_xact_id();
  v_seq := v_fold.accepted_seq;
  v_until := v_fold.settled_at;

  if pg_snapshot_xmin(pg_current_snapshot()) >= v_fold.due_xid then
    v_seq := least(v_fold.due_seq, v_fold.accepted_seq + p_limit);
    v_until := greatest(v_fold.due_at - p_slack_ms, v_fold.settled_at);
    -- where much has gathered, one batch of each kind at a time
    v_until := least(
      v_until,
      (
        select i.due_at + 1
        from openclaw.inbox i
        where i.state in ('acked', 'dead', 'expired', 'withdrawn')
          and i.due_at >= v_fold.settled_at
        order by i.due_at
        offset p_limit limit 1
      ),
      (
        select s.completed_at + 1
        from dbos_system.workflow_status s
        where s.completed_at >= v_fold.settled_at
        order by s.completed_at
        offset p_limit limit 1
      ),
      (
        select o.completed_at_epoch_ms + 1
        from dbos_system.operation_outputs o
        where o.completed_at_epoch_ms >= v_fold.settled_at
        order by o.completed_at_epoch_ms
        offset 4 * p_limit limit 1
      )
    );
    if v_seq = v_fold.due_seq and v_until >= v_fold.due_at - p_slack_ms then
      v_fold.due_seq := v_fold.seen_seq;
      v_fold.due_at := v_fold.seen_at;
      v_fold.due_xid := v_xid;
      v_fold.seen_seq := v_seen;
      v_fold.seen_at := v_now;
    end if;
  end if;

  update openclaw.metric_fold f
  set folded_at = v_now,
    accepted_seq = v_seq,
    settled_at = v_until,
    seen_seq = v_fold.seen_seq,
    seen_at = v_fold.seen_at,
    due_seq = v_fold.due_seq,
    due_at = v_fold.due_at,
    due_xid = v_fold.due_xid;

  with added as (
    delete from openclaw.metric_added a
    returning a.name, a.labels, a.value
  ),
  accepted as (
    select 'messages_accepted' as name, '{}'::text[] as labels, count(*) as value
    from openclaw.inbox i
    where i.inbox_seq > v_fold.accepted_seq
      and i.inbox_seq <= v_seq
  ),
  settled as (
    select
      i.state,
      openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) as attempts
    from openclaw.inbox i
    where i.state in ('acked', 'dead', 'expired', 'withdrawn')
      and i.due_at >= v_fold.settled_at
      and i.due_at < v_until
  ),
  steps as (
    select
      o.function_name as step,
      greatest(o.completed_at_epoch_ms - o.started_at_epoch_ms, 0) as took
    from dbos_system.operation_outputs o
    where o.completed_at_epoch_ms >= v_fold.settled_at
      and o.completed_at_epoch_ms < v_until
      and o.application_name = p_app
  ),
  found (name, labels, value) as (
    select a.name, a.labels, a.value
    from added a
    union all
    select a.name, a.labels, a.value
    from accepted a
    union all
    select 'messages_settled', array[s.state], count(*)
    from settled s
    group by s.state
    union all
    select 'messages_delivered', '{}', sum(s.attempts)
    from settled s
    union all
    select 'messages_redelivered', '{}', sum(greatest(s.attempts - 1, 0))
    from settled s
    union all
    select 'workflows_ended', array[coalesce(w.name, ''), w.status], count(*)
    from dbos_system.workflow_status w
    where w.completed_at >= v_fold.settled_at
      and w.completed_at < v_until
      and w.status in ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
    group by 2
    union all
    select 'step_bucket', array[t.step, width_bucket(t.took - 1, openclaw.metric_buckets())::text], count(*)
    from steps t
    group by 2
    union all
    select 'step_ms', array[t.step], sum(t.took)
    from steps t
    group by t.step
  ),
  sums as (
    select f.name, f.labels, sum(f.value)::bigint as value
    from found f
    where f.value > 0
    group by f.name, f.labels
  ),
  kept as (
    insert into openclaw.metric as m (name, labels, value)
    select s.name, s.labels, s.value
    from sums s
    order by s.name, s.labels
    on conflict (name, labels) do update
    set value = m.value + excluded.value
  )
  select coalesce(sum(s.value), 0)
  into v_count
  from sums s
  where s.name in ('messages_accepted', 'messages_settled', 'workflows_ended');
  v_done := v_count;
  return v_done;
end
$$;

-- Everything that the database knows for /metrics, of one moment. Sums are exact to the last commit,
-- but those of ended workflows and of steps, which are as of the last fold.
create or replace function openclaw.metrics(p_agents integer)
returns table (name text, labels text[], value bigint)
language sql
stable
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  with bound as materialized (
    select f.*, openclaw.now_ms() as now
    from openclaw.metric_fold f
  ),
  settled as (
    select
      i.state,
      openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) as attempts
    from openclaw.inbox i
    where i.state in ('acked', 'dead', 'expired', 'withdrawn')
      and i.due_at >= (select b.settled_at from bound b)
  ),
  leased as (
    select
      i.agent_id, openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) as attempts, i.accepted_at as since
    from openclaw.inbox i
    where i.state = 'leased'
  ),
  -- all that waits is read once
  ready as materialized (
    select
      i.agent_id, count(*) as messages, sum(i.attempt) as attempts, sum(greatest(i.attempt - 1, 0)) as again,
      min(openclaw.waits_since(i.attempt, i.accepted_at, i.due_at, b.now)) as since
    from openclaw.inbox i
    cross join bound b
    where i.state = 'ready'
    group by i.agent_id
  ),
  delivered (attempts, again) as (
    select s.attempts, greatest(s.attempts - 1, 0) from settled s
    union all
    select l.attempts, greatest(l.attempts - 1, 0) from leased l
    union all
    select r.attempts, r.again from ready r
  ),
  found (name, labels, value) as (
    select m.name, m.labels, m.value
    from openclaw.metric m
    union all
    select a.name, a.labels, a.value
    from openclaw.metric_added a
    union all
    select 'messages_accepted', '{}', count(*)
    from openclaw.inbox i
    where i.inbox_seq > (select b.accepted_seq from bound b)
    union all
    select 'messages_settled', array[s.state], count(*)
    from settled s
    group by s.state
    union all
    select 'messages_delivered', '{}', coalesce(sum(d.attempts), 0)
    from delivered d
    union all
    select 'messages_redelivered', '{}', coalesce(sum(d.again), 0)
    from delivered d
    union all
    select 'inbox_messages', array['ready'], coalesce(sum(r.messages), 0)
    from ready r
    union all
    select 'inbox_messages', array['leased'], count(*)
    from leased
    union all
    select 'inbox_messages', array['dead'], count(*)
    from openclaw.inbox i
    where i.state = 'dead'
    union all
    -- of agents that somebody has paused it is meant to wait
    select 'inbox_oldest_ms', '{}', coalesce(max(b.now - o.since), 0)
    from (
      select r.agent_id, r.since from ready r
      union all
      select l.agent_id, l.since from leased l
    ) o
    join openclaw.agent a on a.agent_id = o.agent_id and a.status = 'active'
    cross join bound b
    union all
    (
      select 'inbox_depth', array[d.agent_id], d.depth
      from openclaw.inbox_depth d
      where d.counted_at > openclaw.now_ms() - 10000
      order by d.depth desc, d.agent_id
      limit p_agents
    )
    union all
    select 'workflows', array[coalesce(w.name, ''), w.status], count(*)
    from (
      select s.name, s.status from dbos_system.workflow_status s where s.status = 'PENDING'
      union all
      select s.name, s.status from dbos_system.workflow_status s where s.status = 'DELAYED' and s.name <> 'agent'
      union all
      select s.name, s.status from dbos_system.workflow_status s where s.status = 'ENQUEUED'
    ) w
    group by 2
    union all
    select 'agents', array[a.status], count(*)
    from openclaw.agent a
    group by a.status
    union all
    select 'executors', array[x.kind], count(*)
    from openclaw.executor x
    where x.ended_at is null
    group by x.kind
    union all
    select 'sweeper_seen_ms', '{}', openclaw.now_ms() - max(x.seen_at)
    from openclaw.executor x
    where x.kind = 'sweeper'
      and x.ended_at is null
  )
  select f.name, f.labels, sum(f.value)::bigint
  from found f
  where f.value is not null
  group by f.name, f.labels
  order by f.name, f.labels
$$;
