-- The recipient's side: subscribe, resume, release, claim. What becomes of a delivery is in 052_delivery.sql.

-- Registers a receiver. An exclusive one takes the inbox over: the others are gone, what they held
-- is ready again at once, and they are among the bells so that they learn it. Who only watches stays
-- (inbox_watch.sql; epoch 0). p_call: see executor_call; OC001: it was too late, or the receiver is none.
-- Locks: executor, agent, subscription, inbox in the order of rank.
create or replace function openclaw.inbox_subscribe(
  p_agent text,
  p_executor text,
  p_consumer text,
  p_exclusive boolean,
  p_max_in_flight integer,
  p_lease_ms bigint,
  p_call bigint
)
returns table (epoch bigint, pending bigint, in_flight bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_epoch bigint;
  v_fenced text[] := '{}';
begin
  if not openclaw.executor_call(p_executor, p_call) then
    raise exception 'the receiver is not registered, or has said otherwise since'
      using errcode = 'OC001';
  end if;

  perform
  from openclaw.agent a
  where a.agent_id = p_agent
  for no key update;
  if not found then
    raise exception 'there is no agent %', p_agent
      using errcode = 'OC002';
  end if;

  v_epoch := nextval('openclaw.epoch');

  with fenced as (
    delete from openclaw.subscription s
    where s.agent_id = p_agent
      and s.executor_id <> p_executor
      and s.epoch > 0
      and (p_exclusive or s.exclusive)
    returning s.executor_id
  )
  select coalesce(array_agg(f.executor_id), '{}')
  into v_fenced
  from fenced f;

  insert into openclaw.subscription as s (
    agent_id, executor_id, consumer, epoch, exclusive, max_in_flight, lease_ms, host
  )
  values (
    p_agent, p_executor, p_consumer, v_epoch, p_exclusive, p_max_in_flight, p_lease_ms,
    -- what is taken from somebody else's inbox goes on record, by a claim
    (select x.host from openclaw.executor x where x.executor_id = p_executor and x.principal_id = p_agent)
  )
  on conflict (agent_id, executor_id) do update
  set consumer = excluded.consumer,
    epoch = excluded.epoch,
    exclusive = excluded.exclusive,
    max_in_flight = excluded.max_in_flight,
    lease_ms = excluded.lease_ms,
    host = excluded.host;

  perform openclaw.inbox_release(p_agent, v_fenced || p_executor);

  return query
  select
    v_epoch,
    (select count(*) from openclaw.inbox i where i.agent_id = p_agent and i.state = 'ready'),
    (select count(*) from openclaw.inbox i where i.agent_id = p_agent and i.state = 'leased'),
    array(
      select x.host || '/' || x.executor_id
      from openclaw.executor x
      where x.executor_id = any (v_fenced)
    );
end
$$;

-- Ends a subscription, and gives back what its receiver held of the inbox. Whether there was one.
-- p_call: see executor_call.
-- Locks: executor, subscription, inbox in the order of rank.
create or replace function openclaw.inbox_unsubscribe(p_agent text, p_executor text, p_call bigint)
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_subscribed boolean;
begin
  if not openclaw.executor_call(p_executor, p_call) then
    return false;
  end if;

  -- before what it holds is given back: until it is gone, messages are handed over to it
  delete from openclaw.subscription s
  where s.agent_id = p_agent
    and s.executor_id = p_executor;
  v_subscribed := found;
  perform openclaw.inbox_release(p_agent, array[p_executor]);
  return v_subscribed;
end
$$;

-- Gives back at once what receivers held that are gone: the end of a connection is not the
-- message's fault, so there is no backoff, and what was never handed over counts no attempt.
-- But what ends every connection is the message's fault: the lease of a last attempt ends here, and
-- the sweeper makes a dead letter of it. Returns how many are ready again.
-- p_agent null: whichever inbox it is of. p_known: what they go on with all the same.
-- Locks: inbox in the order of rank.
create or replace function openclaw.inbox_release(p_agent text, p_holders text[], p_known text[] default '{}')
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_seq bigint[];
  v_released bigint;
begin
  if p_agent is null then
    v_seq := array(
      select i.inbox_seq
      from openclaw.inbox i
      where i.state = 'leased'
        and i.holder = any (p_holders)
    );
  else
    v_seq := array(
      select i.inbox_seq
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'leased'
        and i.holder = any (p_holders)
    );
  end if;

  with held as (
    select i.inbox_seq
    from openclaw.inbox i
    where i.inbox_seq = any (v_seq)
      and i.state = 'leased'
      and i.holder = any (p_holders)
      and i.delivery_id <> all (p_known)
    order by i.rank, i.inbox_seq
    for update
  ),
  used_up as (
    update openclaw.inbox i
    set due_at = least(i.due_at, openclaw.now_ms())
    from held h
    where i.inbox_seq = h.inbox_seq
      and i.handed
      and i.attempt >= i.max_attempts
  )
  update openclaw.inbox i
  set state = 'ready',
    attempt = i.attempt - case when i.handed then 0 else 1 end,
    due_at = i.accepted_at,
    holder = null,
    delivery_id = null,
    handed = false
  from held h
  where i.inbox_seq = h.inbox_seq
    and not (i.handed and i.attempt >= i.max_attempts);
  get diagnostics v_released = row_count;
  return v_released;
end
$$;

-- What a receiver does before its next claim where the answer of a claim was lost: what it holds and
-- does not know of is ready again, and the epoch is a new one, so that the lost claim gets nothing
-- should it still be on its way. So no message of a sender comes behind a later one. Called again,
-- with the same epoch or the one it gave, it does the same again. Returns the epoch; OC001: fenced, or too
-- late (p_call: see executor_call).
-- Locks: executor, subscription, inbox in the order of rank.
create or replace function openclaw.inbox_resume(
  p_agent text,
  p_executor text,
  p_epoch bigint,
  p_known text[],
  p_call bigint
)
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_epoch bigint;
begin
  if openclaw.executor_call(p_executor, p_call) then
    update openclaw.subscription s
    set epoch = nextval('openclaw.epoch')
    where s.agent_id = p_agent
      and s.executor_id = p_executor
      and s.epoch >= p_epoch
    returning s.epoch
    into v_epoch;
  end if;
  if v_epoch is null then
    raise exception 'a newer subscription has taken over the inbox of %', p_agent
      using errcode = 'OC001';
  end if;

  perform openclaw.inbox_release(p_agent, array[p_executor], p_known);
  return v_epoch;
end
$$;

-- Leases the next messages to a receiver: p_limit at most, and no further one once 2 MiB are
-- together, so that nobody has to hold a hundred large ones at a time. p_epoch null: a pull without
-- subscription. Whoever was fenced gets OC001. The messages of one sender keep their order: none is
-- given out while an earlier one of the sender waits for another try, or was leased to somebody else
-- and not handed over yet: that one may die before it does. A holder that does not know what it holds
-- (p_known null) is somebody else to each of its pulls. Where only one may be in flight, a message
-- that waits for another try holds the whole line, and comes first when it is due. What was not delayed
-- is due whatever the clock says, for that may have gone back. What expired is left to the sweeper; what
-- was cancelled is withdrawn. The last row is without a message: it says when the next may be due, null
-- where none is waiting, so that who is told of no other need not ask again. p_token, for pulls: fresh for
-- each claim, and the same where its answer was lost; called again with it the claim gives what it gave.
-- "<pull>.<portion>": a part of a pull, which the others of the pull do not stand in the way of.
-- p_known, of a session: the place of the last message that was handed over to its subscription and that it
-- knows of; a later one, whose datagram was lost or is on its way still, is given first. Null: see above.
-- Locks, where there is something to claim: subscription (share, so that who takes the inbox over or
-- resumes it finds all that was leased); the inbox's advisory lock for claims, so that one sees what
-- another has taken, be it a pull beside a subscription; then inbox in the order of rank, waiting and not
-- skipping: somebody whose delivery is not current any more may hold the row for a moment, and a later
-- message must not come before it.
create or replace function openclaw.inbox_claim(
  p_agent text,
  p_holder text,
  p_epoch bigint,
  p_max_in_flight integer,
  p_limit integer,
  p_lease_ms bigint,
  p_token text default null,
  p_known bigint default null
)
returns table (
  next_due_ms bigint,
  inbox_seq bigint,
  delivery_id text,
  message_id text,
  message_uuid text,
  sender text,
  workflow_uuid text,
  serialization text,
  message text,
  attempt integer,
  max_attempts integer,
  redelivered boolean,
  expects_reply boolean,
  accepted_at bigint,
  expires_at bigint,
  lease_expires_at bigint
)
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
  v_now constant bigint := openclaw.now_ms();
  v_enough constant bigint := 2097152;
  v_soon constant bigint := 50;
  v_alone constant text := case when p_known is null then split_part(p_token, '.', 1) end;
  v_room bigint := p_limit;
  v_taken boolean := false;
  v_waiting boolean;
  v_head bigint;
  v_ready boolean;
  v_more boolean := false;
begin
  -- who finds nothing locks nothing either, for a lock is a commit and a flush
  v_ready := exists (
    select
    from openclaw.inbox i
    where i.agent_id = p_agent
      and i.state = 'ready'
      and i.due_at <= greatest(v_now, i.accepted_at)
  );

  if p_epoch is not null then
    if v_ready then
      perform
      from openclaw.subscription s
      where s.agent_id = p_agent
        and s.executor_id = p_holder
        and s.epoch = p_epoch
      for share;
    else
      perform
      from openclaw.subscription s
      where s.agent_id = p_agent
        and s.executor_id = p_holder
        and s.epoch = p_epoch;
    end if;
    if not found then
      raise exception 'a newer subscription has taken over the inbox of %', p_agent
        using errcode = 'OC001';
    end if;
  end if;

  if v_ready then
    perform pg_advisory_xact_lock(hashtextextended('inbox ' || p_agent, 0));
  end if;

  if p_token is not null
    or p_known is not null
    and exists (
      select
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'leased'
        and i.holder = p_holder
        and i.inbox_seq > p_known
        and not i.handed
        and i.delivery_id like '%.h%'
    )
  then
    return query
    select
      null::bigint, i.inbox_seq, i.delivery_id, openclaw.message_id(i.sender, i.message_uuid),
      i.message_uuid, i.sender, i.workflow_uuid, n.serialization, n.message,
      i.attempt, i.max_attempts, i.claims > 1, i.expects_reply, i.accepted_at, i.expires_at, i.due_at
    from openclaw.inbox i
    join dbos_system.notifications n on n.message_uuid = i.message_uuid
    where i.agent_id = p_agent
      and i.state = 'leased'
      and i.holder = p_holder
      and case
        when p_token is not null then i.delivery_id = i.inbox_seq || '.' || p_token
        else i.inbox_seq > p_known and not i.handed and i.delivery_id like '%.h%'
      end
    order by i.rank;
    if found and p_token is not null then
      return;
    end if;
  end if;

  if v_ready then
    -- what a bridge holds is on its way elsewhere
    select
      least(v_room, p_max_in_flight - count(*) filter (where i.holder = p_holder)),
      coalesce(
        bool_or(
          not i.handed
          and i.holder <> 'dbos'
          and (i.holder <> p_holder or split_part(i.delivery_id, '.', 2) <> v_alone)
        ),
        false
      )
    into v_room, v_taken
    from openclaw.inbox i
    where i.agent_id = p_agent
      and i.state = 'leased';
  end if;

  v_waiting := v_ready
    and exists (
      select
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'ready'
        and i.claims > 0
        and i.due_at > v_now
        and i.due_at > i.accepted_at
    );

  -- where one at a time is taken, what was taken before holds the line
  if v_ready and p_max_in_flight = 1 then
    select i.inbox_seq
    into v_head
    from openclaw.inbox i
    where i.agent_id = p_agent
      and i.state = 'ready'
      and i.claims > 0
      and i.due_at <= v_now
      and i.expires_at > v_now
    order by i.rank
    limit 1;
  end if;

  if v_ready
    and v_room > 0
    and not (v_waiting and p_max_in_flight is not distinct from 1)
    and exists (select from openclaw.agent a where a.agent_id = p_agent and a.status = 'active')
  then
    return query
    with chosen as (
      select
        i.inbox_seq,
        i.rank,
        -- by its id: an index of what was cancelled would be read whole
        coalesce(
          (
            select w.status = 'CANCELLED'
            from dbos_system.workflow_status w
            where w.workflow_uuid = i.workflow_uuid
          ),
          false
        ) as cancelled,
        coalesce(
          (
            select octet_length(n.message)
            from dbos_system.notifications n
            where n.message_uuid = i.message_uuid
          ),
          0
        ) as bytes
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'ready'
        and i.due_at <= greatest(v_now, i.accepted_at)
        and i.expires_at > v_now
        and (v_head is null or i.inbox_seq = v_head)
        and not (
          v_waiting
          and exists (
            select
            from openclaw.inbox e
            where e.agent_id = p_agent
              and e.state = 'ready'
              and e.claims > 0
              and e.due_at > v_now
              and e.due_at > e.accepted_at
              and e.sender = i.sender
              and e.rank < i.rank
          )
        )
        and not (
          v_taken
          and exists (
            select
            from openclaw.inbox e
            where e.agent_id = p_agent
              and e.state = 'leased'
              and not e.handed
              and e.holder <> 'dbos'
              and (e.holder <> p_holder or split_part(e.delivery_id, '.', 2) <> v_alone)
              and e.sender = i.sender
              and e.rank < i.rank
          )
        )
      order by i.rank
      limit v_room
      for update of i
    ),
    fitting as (
      select
        c.inbox_seq,
        sum(c.bytes) over (order by c.rank, c.inbox_seq) - c.bytes as before
      from chosen c
      where not c.cancelled
    ),
    withdrawn as (
      update openclaw.inbox i
      set state = 'withdrawn',
        due_at = v_now
      from chosen c
      where c.cancelled
        and i.inbox_seq = c.inbox_seq
    ),
    leased as (
      update openclaw.inbox i
      set state = 'leased',
        attempt = i.attempt + 1,
        claims = i.claims + 1,
        handed = false,
        holder = p_holder,
        delivery_id = i.inbox_seq || '.' || coalesce(p_token, translate(gen_random_uuid()::text, '-', '')),
        last_attempt_at = v_now,
        due_at = v_now + p_lease_ms
      from fitting f
      where f.before < v_enough
        and i.inbox_seq = f.inbox_seq
      returning i.*
    )
    select
      null::bigint, l.inbox_seq, l.delivery_id, openclaw.message_id(l.sender, l.message_uuid),
      l.message_uuid, l.sender, l.workflow_uuid, n.serialization, n.message,
      l.attempt, l.max_attempts, l.claims > 1, l.expects_reply, l.accepted_at, l.expires_at, l.due_at
    from leased l
    join dbos_system.notifications n on n.message_uuid = l.message_uuid
    order by l.rank;
    if found then
      v_more := exists (
        select
        from openclaw.inbox i
        where i.agent_id = p_agent
          and i.state = 'ready'
          and i.due_at <= greatest(v_now, i.accepted_at)
          and i.expires_at > v_now
      );
    end if;
  end if;

  return query
  select
    case when v_more then 0 else (
      select min(case when i.due_at > v_now then i.due_at - v_now else v_soon end)
      from openclaw.inbox i
      where i.agent_id = p_agent
        and i.state = 'ready'
        and (i.due_at > v_now or v_taken)
    ) end,
    null::bigint, null, null, null, null, null, null, null, null::integer, null::integer,
    null::boolean, null::boolean, null::bigint, null::bigint, null::bigint;
end
$$;

-- inbox_claim for several receivers, one element each; ord says whose a row is. One of them fenced
-- fails all, and so does one that has to wait for long (55P03): the caller then asks for each by itself.
-- Locks: as inbox_claim, in the order of agents; so by rank only within each. Others lock by rank across
-- inboxes, therefore this one waits for less than it takes to become a deadlock.
create or replace function openclaw.inbox_claims(
  p_agent text[],
  p_holder text[],
  p_epoch bigint[],
  p_max_in_flight integer[],
  p_limit integer[],
  p_lease_ms bigint[],
  p_token text[],
  p_known bigint[]
)
returns table (
  ord integer,
  next_due_ms bigint,
  inbox_seq bigint,
  delivery_id text,
  message_id text,
  message_uuid text,
  sender text,
  workflow_uuid text,
  serialization text,
  message text,
  attempt integer,
  max_attempts integer,
  redelivered boolean,
  expects_reply boolean,
  accepted_at bigint,
  expires_at bigint,
  lease_expires_at bigint
)
language plpgsql
set search_path = pg_catalog
set lock_timeout = '100ms'
as $$
declare
  v_ord integer;
begin
  for v_ord in
    select g.ord
    from unnest(p_agent) with ordinality as g (agent_id, ord)
    order by g.agent_id, g.ord
  loop
    return query
    select v_ord, c.*
    from openclaw.inbox_claim(
      p_agent[v_ord], p_holder[v_ord], p_epoch[v_ord], p_max_in_flight[v_ord], p_limit[v_ord],
      p_lease_ms[v_ord], p_token[v_ord], p_known[v_ord]
    ) c;
  end loop;
end
$$;
