-- What the sweeper does, each a bounded, repeatable transition that skips what others hold.

-- Parked workflows whose time has come become claimable (DBOS: DELAYED to ENQUEUED).
-- Locks: workflow_status.
create or replace function openclaw.workflow_wake(p_app text, p_limit integer)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_woken bigint;
begin
  with due as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.status = 'DELAYED'
      and s.delay_until_epoch_ms <= v_now
      and (s.application_name = p_app or s.application_name is null)
      and s.name <> 'agent'
    order by s.delay_until_epoch_ms
    limit p_limit
    for no key update skip locked
  )
  update dbos_system.workflow_status s
  set status = 'ENQUEUED',
    queue_name = openclaw.wake_queue(s.queue_name, s.queue_partition_key, s.started_at_epoch_ms),
    deduplication_id = case when s.is_debounced then null else s.deduplication_id end,
    updated_at = v_now
  from due d
  where s.workflow_uuid = d.workflow_uuid;
  get diagnostics v_woken = row_count;
  return v_woken + openclaw.waiting_wake(p_app, p_limit);
end
$$;

-- Workflows past their deadline are cancelled, whether they run or wait.
-- Locks: workflow_status.
create or replace function openclaw.workflow_expire(p_app text, p_limit integer)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_expired bigint;
begin
  with late as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.status in ('ENQUEUED', 'PENDING', 'DELAYED')
      and s.workflow_deadline_epoch_ms <= v_now
      and (s.application_name = p_app or s.application_name is null)
    order by s.workflow_deadline_epoch_ms
    limit p_limit
    for no key update skip locked
  )
  update dbos_system.workflow_status s
  set status = 'CANCELLED',
    owner_xid = null,
    queue_name = null,
    deduplication_id = null,
    started_at_epoch_ms = null,
    updated_at = v_now,
    completed_at = v_now
  from late l
  where s.workflow_uuid = l.workflow_uuid;
  get diagnostics v_expired = row_count;
  return v_expired;
end
$$;

-- Leases that have ended: the messages get another try or are dead letters.
-- Locks: as inbox_retry.
create or replace function openclaw.inbox_expire_leases(
  p_app text,
  p_legacy boolean,
  p_base_ms bigint,
  p_max_ms bigint,
  p_limit integer
)
returns table (retried bigint, dead bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_seq bigint[];
  v_delivery text[];
  v_gone text[];
  v_agents text[];
begin
  -- a claim that was committed only after its holder had been buried
  select array_agg(distinct i.holder), array_agg(distinct i.agent_id)
  into v_gone, v_agents
  from openclaw.inbox i
  join openclaw.executor x on x.executor_id = i.holder
  where i.state = 'leased'
    and x.ended_at is not null;
  if v_gone is not null then
    perform openclaw.inbox_release(null, v_gone);
  end if;

  select array_agg(l.inbox_seq), array_agg(l.delivery_id)
  into v_seq, v_delivery
  from (
    select i.inbox_seq, i.delivery_id
    from openclaw.inbox i
    where i.state = 'leased'
      and i.due_at <= v_now
    limit p_limit
  ) l;
  if v_seq is null and v_agents is null then
    return query select 0::bigint, 0::bigint, '{}'::text[];
    return;
  end if;

  return query
  with tried as (
    select r.*
    from openclaw.inbox_retry(
      p_app, p_legacy, coalesce(v_seq, '{}'), coalesce(v_delivery, '{}'), false, true, null, false,
      'its lease ended without an answer', p_base_ms, p_max_ms
    ) r
  )
  select
    count(*) filter (where t.state = 'ready'),
    count(*) filter (where t.state = 'dead'),
    array(
      select x.host || '/' || x.executor_id
      from openclaw.executor x
      where x.executor_id in (
        select s.executor_id
        from openclaw.subscription s
        join tried r on r.agent_id = s.agent_id
        union all
        select s.executor_id
        from openclaw.subscription s
        where s.agent_id = any (v_agents)
        union all
        select r.waiter
        from tried r
        where r.state = 'dead'
      )
    )
  from tried t;
end
$$;

-- Messages of DBOS clients that nobody acknowledged in time.
-- Locks: as message_settle.
create or replace function openclaw.inbox_expire_foreign(p_app text, p_legacy boolean, p_limit integer)
returns bigint
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_seq bigint[];
  v_expired bigint := 0;
begin
  select array_agg(l.inbox_seq)
  into v_seq
  from (
    select i.inbox_seq
    from openclaw.inbox i
    where i.workflow_uuid is null
      and (i.state = 'ready' or i.state = 'leased' and i.due_at <= v_now)
      and i.expires_at <= v_now
    order by i.expires_at
    limit p_limit
  ) l;
  if v_seq is not null then
    select count(*)
    into v_expired
    from openclaw.message_settle(
      p_app, p_legacy, v_seq, array_fill(null::text, array[cardinality(v_seq)]), 'expired',
      array_fill(null::text, array[cardinality(v_seq)]), null
    );
  end if;
  return v_expired;
end
$$;

-- What routeMessage of the workflow p_id looks at when its time has come: has the message it waits for
-- reached an end? Expires it where it is time, withdraws it where its mailbox has lost it; settles the
-- workflow itself where it settles the message; result is the output or the portable error of an end, the
-- bell is of who waits.
--
-- Where the message is live and another workflow carries it (p_id is a fork behind the step that sends),
-- p_id is parked here, in the state `parked`, and is woken by the end of that one; otherwise the caller
-- parks it, for again_ms.
-- Locks: as message_settle; or workflow_status of p_id alone.
create or replace function openclaw.message_review(
  p_app text,
  p_legacy boolean,
  p_seq bigint,
  p_id text,
  p_token text
)
returns table (state text, again_ms bigint, result text, bell text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_look_again constant bigint := 5000;
  v_now constant bigint := openclaw.now_ms();
  v_inbox openclaw.inbox;
  v_result text;
begin
  select i.*
  into v_inbox
  from openclaw.inbox i
  where i.inbox_seq = p_seq;

  if v_inbox.state in ('ready', 'leased') then
    if v_inbox.expires_at <= v_now and (v_inbox.state = 'ready' or v_inbox.due_at <= v_now) then
      perform openclaw.message_settle(p_app, p_legacy, array[p_seq], array[null], 'expired', array[null], null);
    elsif not exists (
      select from dbos_system.notifications n where n.message_uuid = v_inbox.message_uuid
    ) then
      perform openclaw.message_settle(
        p_app, p_legacy, array[p_seq], array[null], 'withdrawn', array[null],
        'the recipient was deleted'
      );
    end if;
    select i.*
    into v_inbox
    from openclaw.inbox i
    where i.inbox_seq = p_seq;
  end if;

  -- what was handed over in time is its recipient's until the lease ends
  if v_inbox.state = 'leased' then
    v_inbox.expires_at := greatest(v_inbox.expires_at, v_inbox.due_at);
  end if;

  if v_inbox.state in ('ready', 'leased') and v_inbox.workflow_uuid is distinct from p_id then
    if exists (
      select
      from dbos_system.workflow_status s
      where s.workflow_uuid = v_inbox.workflow_uuid
        and s.status in ('ENQUEUED', 'PENDING', 'DELAYED')
    ) then
      perform openclaw.workflow_fence(p_id, p_token);
      perform openclaw.workflow_park(p_id, 'DBOS.getResult', v_inbox.workflow_uuid, null, v_inbox.expires_at);
      return query select 'parked', null::bigint, null::text, null::text;
      return;
    end if;
    -- its carrier has ended without it: whoever will settle it has no workflow to end
    v_inbox.expires_at := least(v_inbox.expires_at, v_now + v_look_again);
  end if;

  -- what the carrying workflow ended with has the recipient's answer in it
  v_result := coalesce(v_inbox.result, (
    select o.output
    from dbos_system.operation_outputs o
    where o.workflow_uuid = v_inbox.workflow_uuid
      and o.function_id = v_inbox.await_step
      and o.function_name = 'routeMessage'
      and o.serialization = 'portable_json'
  ), format(
    '{"messageId":%s,"status":"%s","deliveryAttempts":%s,"lastAttemptTime":%s%s}',
    coalesce(to_json(openclaw.message_id(v_inbox.sender, v_inbox.message_uuid))::text, 'null'),
    case v_inbox.state when 'acked' then 'acknowledged' when 'expired' then 'expired' else 'failed' end,
    coalesce(v_inbox.attempt, 0),
    coalesce('"' || openclaw.iso(v_inbox.last_attempt_at) || '"', 'null'),
    case when v_inbox.state <> 'acked' then ',"reason":' || to_json(coalesce(v_inbox.reason, v_inbox.state))::text else '' end
  ));

  return query
  select
    coalesce(v_inbox.state, 'withdrawn'),
    greatest(coalesce(v_inbox.expires_at, 0) - v_now, 1),
    case v_inbox.state
      when 'acked' then v_result
      else openclaw.message_error(coalesce(v_inbox.state, 'withdrawn'), v_inbox.reason, v_result)
    end,
    (
      select x.host || '/' || x.executor_id
      from openclaw.executor x
      where x.executor_id = v_inbox.waiter
        and v_inbox.state not in ('ready', 'leased')
    );
end
$$;

-- A rewound workflow has no checkpoint and no output any more from the step on to which it goes back,
-- whoever rewinds it. Where that is the wait for a message that has been acknowledged, the recipient's
-- answer was only there: its message keeps it, and the workflow finds it again (message_review).
create or replace function openclaw.reply_keep()
returns trigger
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
begin
  update openclaw.inbox i
  set result = old.output
  from dbos_system.operation_outputs o
  where o.workflow_uuid = old.workflow_uuid
    and o.function_name = 'storeMessage'
    and i.inbox_seq = openclaw.sent_seq(o.output)
    and i.workflow_uuid = old.workflow_uuid
    and i.await_step = old.function_id
    and i.state = 'acked';
  return null;
end
$$;

create or replace trigger openclaw_reply_keep
after delete on dbos_system.operation_outputs
for each row
when (old.function_name = 'routeMessage' and old.output is not null)
execute function openclaw.reply_keep();

-- Messages that have been ready for a while although somebody is subscribed: a bell was lost, or a
-- DBOS client sent them, which rings nobody; or that were handed over and have not been put out: the
-- datagram was lost. Also recounts the inboxes that are in use.
create or replace function openclaw.inbox_overdue(p_grace_ms bigint)
returns table (bell text)
language sql
set search_path = pg_catalog
as $$
  select distinct x.host || '/' || x.executor_id
  from openclaw.subscription s
  join openclaw.executor x on x.executor_id = s.executor_id
  join openclaw.agent a on a.agent_id = s.agent_id
  where x.ended_at is null
    and a.status = 'active'
    and exists (
      select
      from openclaw.inbox i
      where i.agent_id = s.agent_id
        and i.state = 'ready'
        and i.due_at <= openclaw.now_ms() - p_grace_ms
      union all
      select
      from openclaw.inbox i
      where i.agent_id = s.agent_id
        and i.state = 'leased'
        and not i.handed
        and i.last_attempt_at <= openclaw.now_ms() - p_grace_ms
        and i.delivery_id like '%.h%'
    )
$$;

create or replace function openclaw.inbox_count()
returns void
language sql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  insert into openclaw.inbox_depth as d (agent_id, depth, counted_at)
  select i.agent_id, count(*), openclaw.now_ms()
  from (
    -- state by state, as the indexes are: what is settled is not even looked at
    select r.agent_id
    from openclaw.inbox r
    where r.state = 'ready'
    union all
    select l.agent_id
    from openclaw.inbox l
    where l.state = 'leased'
  ) i
  join openclaw.agent a on a.agent_id = i.agent_id
  group by i.agent_id
  order by i.agent_id
  on conflict (agent_id) do update
  set depth = excluded.depth,
    counted_at = excluded.counted_at
$$;
