-- Queues: who may run now. A queue is a row of dbos_system.queues, which any DBOS client may change
-- at any time; `_dbos_internal_queue` is always there and has no limits.

-- How many more workflows of a queue, or of one partition of it, may start; null: no limit. All
-- counts are of this application's workflows, as DBOS counts. The rate also counts who has started
-- and is parked or woken since: only who has not started, or starts anew, has no time of starting.
create or replace function openclaw.queue_room(
  p_queue text,
  p_partition text,
  p_executor text,
  p_app text,
  p_concurrency integer,
  p_worker_concurrency integer,
  p_rate_max integer,
  p_rate_period_sec double precision
)
returns bigint
language sql
stable
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  select least(
    case when p_concurrency is not null then p_concurrency - (
      select count(*)
      from dbos_system.workflow_status s
      where s.queue_name = p_queue
        and s.status = 'PENDING'
        and (p_partition is null or s.queue_partition_key = p_partition)
        and (s.application_name = p_app or s.application_name is null)
    ) end,
    case when p_worker_concurrency is not null then p_worker_concurrency - (
      select count(*)
      from dbos_system.workflow_status s
      where s.queue_name = p_queue
        and s.status = 'PENDING'
        and s.executor_id = p_executor
        and (p_partition is null or s.queue_partition_key = p_partition)
        and (s.application_name = p_app or s.application_name is null)
    ) end,
    case when p_rate_max is not null then p_rate_max - (
      select count(*)
      from dbos_system.workflow_status s
      where s.queue_name = p_queue
        and s.rate_limited
        and s.started_at_epoch_ms > openclaw.now_ms() - (p_rate_period_sec * 1000)::bigint
        and (p_partition is null or s.queue_partition_key = p_partition)
        and (s.application_name = p_app or s.application_name is null)
    ) end
  )
$$;

-- Whether a message that a DBOS client has enqueued may be taken now. One after the other: one that is
-- under way may not have come to its inbox yet, and those behind it would overtake it there. Who hangs
-- holds up the others for a minute, and who died until it is recovered, a minute at most.
-- Locks: the advisory lock of enqueued messages; the caller waits for none that its holder waits for.
create or replace function openclaw.queue_message_turn(p_queue text, p_app text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  v_patience_ms constant bigint := 60000;
  v_alone boolean := false;
begin
  loop
    if exists (
      select
      from dbos_system.workflow_status s
      where s.status = 'PENDING'
        and s.queue_name = p_queue
        and s.name = 'routeAgentMessage'
        and (s.application_name = p_app or s.application_name is null)
        and s.updated_at > openclaw.now_ms() - v_patience_ms
    ) then
      return false;
    end if;
    exit when v_alone;
    perform pg_advisory_xact_lock(hashtext('openclaw.queue'), hashtext('routeAgentMessage'));
    v_alone := true;
  end loop;
  return true;
end
$$;

-- Claims at most p_limit enqueued workflows of one queue, or of one partition of it, the most urgent
-- first; returns those that may run. Who was claimed more often than p_max_recovery allows ends here
-- instead, visible and resumable; so a workflow that kills its executor does not do so for ever.
-- Locks: as queue_message_turn where a message is near; workflow_status, skipping what others hold.
create or replace function openclaw.queue_take(
  p_queue text,
  p_partition text,
  p_executor text,
  p_token text,
  p_app text,
  p_version text,
  p_latest boolean,
  p_name text[],
  p_max_recovery bigint,
  p_rate_limited boolean,
  p_limit bigint
)
returns text[]
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_window constant bigint := 64; -- so far behind messages that have to wait it looks for others
  v_now constant bigint := openclaw.now_ms();
  v_near text[];
  v_message boolean;
  v_ids text[];
begin
  select array_agg(n.workflow_uuid), coalesce(bool_or(n.name = 'routeAgentMessage'), false)
  into v_near, v_message
  from (
    select s.workflow_uuid, s.name
    from dbos_system.workflow_status s
    where s.status = 'ENQUEUED'
      and s.queue_name = p_queue
      and (p_partition is null or s.queue_partition_key = p_partition)
      and s.name = any (p_name)
      and (s.application_name = p_app or s.application_name is null)
      and (s.application_version = p_version or (p_latest and s.application_version is null))
    order by s.priority, s.created_at
    limit p_limit + v_window
  ) n;
  -- those in the internal queue have come to their inboxes before
  v_message := v_message
    and (p_queue = '_dbos_internal_queue' or openclaw.queue_message_turn(p_queue, p_app));

  with chosen as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.workflow_uuid = any (v_near)
      and s.status = 'ENQUEUED'
      and s.queue_name = p_queue
      and (s.name <> 'routeAgentMessage' or v_message)
      and (p_partition is null or s.queue_partition_key = p_partition)
      and s.name = any (p_name)
      and (s.application_name = p_app or s.application_name is null)
      and (s.application_version = p_version or (p_latest and s.application_version is null))
    order by s.priority, s.created_at
    limit p_limit
    for no key update of s skip locked
  ),
  claimed as (
    update dbos_system.workflow_status s
    set status = case
        when s.recovery_attempts > p_max_recovery then 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'
        else 'PENDING'
      end,
      owner_xid = case when s.recovery_attempts > p_max_recovery then null else p_token end,
      executor_id = p_executor,
      application_version = p_version,
      application_name = coalesce(s.application_name, p_app),
      -- who wakes has started then, and takes no other slot of the rate
      started_at_epoch_ms = case
        when s.recovery_attempts > p_max_recovery then null
        when p_rate_limited and s.rate_limited then coalesce(s.started_at_epoch_ms, v_now)
        else v_now
      end,
      rate_limited = p_rate_limited,
      recovery_attempts = s.recovery_attempts + 1,
      updated_at = v_now,
      completed_at = case when s.recovery_attempts > p_max_recovery then v_now end,
      queue_name = case when s.recovery_attempts > p_max_recovery then null else s.queue_name end,
      deduplication_id = case when s.recovery_attempts > p_max_recovery then null else s.deduplication_id end,
      workflow_deadline_epoch_ms = coalesce(s.workflow_deadline_epoch_ms, v_now + s.workflow_timeout_ms)
    from chosen c
    where s.workflow_uuid = c.workflow_uuid
    returning s.workflow_uuid, s.status, s.priority, s.created_at
  )
  select coalesce(array_agg(c.workflow_uuid order by c.priority, c.created_at), '{}')
  into v_ids
  from claimed c
  where c.status = 'PENDING';
  return v_ids;
end
$$;

-- Claims of one queue within its limits. Where it has any, its row is locked, so that the counts
-- hold against every other gateway and every other thread of this one; who finds it locked comes
-- again. Each statement here sees what was committed before the lock was ours.
-- Locks: queues, then workflow_status, skipping what others hold.
create or replace function openclaw.queue_claim(
  p_queue text,
  p_executor text,
  p_token text,
  p_app text,
  p_version text,
  p_latest boolean,
  p_name text[],
  p_max_recovery bigint,
  p_limit bigint
)
returns text[]
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_queue dbos_system.queues;
  v_split boolean;
  v_old boolean;
  v_room bigint;
  v_ids text[] := '{}';
  v_partition text;
begin
  if p_queue = '_dbos_internal_queue' then
    return openclaw.queue_take(
      p_queue, null, p_executor, p_token, p_app, p_version, p_latest, p_name, p_max_recovery, false, p_limit
    );
  end if;

  select q.*
  into v_queue
  from dbos_system.queues q
  where q.name = p_queue;
  if num_nonnulls(
    v_queue.concurrency, v_queue.worker_concurrency, v_queue.rate_limit_max,
    v_queue.partition_concurrency, v_queue.partition_worker_concurrency, v_queue.partition_rate_limit_max
  ) > 0 then
    select q.*
    into v_queue
    from dbos_system.queues q
    where q.name = p_queue
    for no key update skip locked;
  end if;
  if v_queue.name is null then
    return v_ids;
  end if;

  v_split := num_nonnulls(
    v_queue.partition_concurrency, v_queue.partition_worker_concurrency, v_queue.partition_rate_limit_max
  ) > 0;
  -- DBOS before 5 only has limits of the queue, and on a partitioned one means each partition's
  v_old := v_queue.partition_queue and not v_split;
  if v_old then
    v_queue.partition_concurrency := v_queue.concurrency;
    v_queue.partition_worker_concurrency := v_queue.worker_concurrency;
    v_queue.partition_rate_limit_max := v_queue.rate_limit_max;
    v_queue.partition_rate_limit_period_sec := v_queue.rate_limit_period_sec;
    v_room := p_limit;
  else
    v_room := least(p_limit, openclaw.queue_room(
      p_queue, null, p_executor, p_app, v_queue.concurrency, v_queue.worker_concurrency,
      v_queue.rate_limit_max, v_queue.rate_limit_period_sec
    ));
  end if;

  if not (v_split or v_old) then
    if v_room > 0 then
      v_ids := openclaw.queue_take(
        p_queue, null, p_executor, p_token, p_app, p_version, p_latest, p_name, p_max_recovery,
        v_queue.rate_limit_max is not null, v_room
      );
    end if;
    return v_ids;
  end if;

  -- each partition that waits, found by stepping along the index
  for v_partition in
    with recursive waiting (key) as (
      (
        select s.queue_partition_key
        from dbos_system.workflow_status s
        where s.queue_name = p_queue
          and s.status = 'ENQUEUED'
          and s.queue_partition_key is not null
        order by s.queue_partition_key
        limit 1
      )
      union all
      select (
        select s.queue_partition_key
        from dbos_system.workflow_status s
        where s.queue_name = p_queue
          and s.status = 'ENQUEUED'
          and s.queue_partition_key > w.key
        order by s.queue_partition_key
        limit 1
      )
      from waiting w
      where w.key is not null
    )
    select w.key
    from waiting w
    where w.key is not null
    order by random()
  loop
    exit when v_room <= cardinality(v_ids);
    v_ids := v_ids || openclaw.queue_take(
      p_queue, v_partition, p_executor, p_token, p_app, p_version, p_latest, p_name, p_max_recovery,
      coalesce(v_queue.rate_limit_max, v_queue.partition_rate_limit_max) is not null,
      greatest(0, least(v_room - cardinality(v_ids), openclaw.queue_room(
        p_queue, v_partition, p_executor, p_app, v_queue.partition_concurrency,
        v_queue.partition_worker_concurrency, v_queue.partition_rate_limit_max,
        v_queue.partition_rate_limit_period_sec
      )))
    );
  end loop;
  return v_ids;
end
$$;

-- Claims enqueued workflows that this program knows (p_name), with the fence token p_token for all
-- of this call, within the limits of their queues; no queue keeps another from its turn. A workflow
-- without a version is for whoever has the application's latest.
-- Locks: as queue_claim, queue by queue, and waits for none.
create or replace function openclaw.workflow_claim(
  p_executor text,
  p_token text,
  p_app text,
  p_version text,
  p_name text[],
  p_max_recovery bigint,
  p_limit integer
)
returns table (
  workflow_uuid text,
  name text,
  principal text,
  serialization text,
  input text,
  recovery_attempts bigint,
  now_ms bigint,
  traceparent text
)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_latest boolean;
  v_queue text;
  v_ids text[] := '{}';
begin
  select v.version_name = p_version
  into v_latest
  from dbos_system.application_versions v
  where v.application_name = p_app
    or v.application_name is null
  order by v.version_timestamp desc
  limit 1;

  for v_queue in
    select k.name
    from (
      select '_dbos_internal_queue' as name
      union
      select q.name
      from dbos_system.queues q
      where q.application_name = p_app
        or q.application_name is null
        -- a DBOS application that declares the gateway's queue becomes its owner
        or q.name = 'openclaw'
    ) k
    where exists (
      select
      from dbos_system.workflow_status s
      where s.status = 'ENQUEUED'
        and s.queue_name = k.name
    )
    order by random()
  loop
    exit when cardinality(v_ids) >= p_limit;
    v_ids := v_ids || openclaw.queue_claim(
      v_queue, p_executor, p_token, p_app, p_version, coalesce(v_latest, true), p_name,
      p_max_recovery, p_limit - cardinality(v_ids)
    );
  end loop;

  return query
  select
    s.workflow_uuid, s.name, s.authenticated_user, s.serialization,
    coalesce(i.inputs, s.inputs), s.recovery_attempts, openclaw.now_ms(),
    s.attributes ->> 'traceparent'
  from unnest(v_ids) with ordinality as c (id, ord)
  join dbos_system.workflow_status s on s.workflow_uuid = c.id
  left join dbos_system.workflow_input i on i.workflow_uuid = c.id
  order by c.ord;
end
$$;

-- What an executor has claimed and could not go on with, because the database or somebody outside
-- was away: it is tried again later, ever later with each attempt, by whoever claims it then.
-- p_running are the tokens of the claims that the executor does still run.
-- Locks: workflow_status in the order of ids.
create or replace function openclaw.workflow_give_back(
  p_executor text,
  p_running text[],
  p_base_ms bigint,
  p_max_ms bigint
)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_given bigint;
begin
  with left_over as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.status = 'PENDING'
      and s.executor_id = p_executor
      and s.owner_xid <> all (p_running)
    order by s.workflow_uuid
    for no key update skip locked
  )
  update dbos_system.workflow_status s
  set status = 'DELAYED',
    owner_xid = null,
    executor_id = '',
    started_at_epoch_ms = null,
    queue_name = coalesce(s.queue_name, '_dbos_internal_queue'),
    delay_until_epoch_ms =
      v_now + (least(p_max_ms, p_base_ms * 2 ^ least(s.recovery_attempts - 1, 30)) * (0.5 + random() / 2))::bigint,
    updated_at = v_now
  from left_over l
  where s.workflow_uuid = l.workflow_uuid;
  get diagnostics v_given = row_count;
  return v_given;
end
$$;
