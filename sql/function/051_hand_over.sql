-- Leases messages that were just stored, in the transaction that accepts them, where a receiver can be
-- handed them at once: such a message needs no claim, which is a call, a commit and a flush more. The
-- receiver is the only one of its inbox, and on the host of who accepts (p_host), for it is handed over by
-- a datagram; it has room; and whatever else came to the inbox has been handed to it or is settled, so that
-- nothing is overtaken. p_agent, p_seq: small messages, due now, and whose inbox they are in. hand_over is
-- for who sends that datagram when this has committed: "holder epoch lease_expires_at delivery_id". Where it
-- is lost, the receiver's next claim gives the message (inbox_claim); an "h" before the delivery id's secret
-- is how that tells what was leased here.
-- Locks: the subscription (share) and the inbox's advisory lock for claims, as a claim has them; but it
-- waits for neither, for what is not handed over is claimed.
create or replace function openclaw.inbox_hand_over(p_host text, p_agent text[], p_seq bigint[])
returns table (inbox_seq bigint, holder text, hand_over text)
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
  v_seq bigint[];
  v_holder text[];
  v_epoch bigint[];
  v_lease bigint[];
  v_room bigint[];
begin
  select
    array_agg(t.seq), array_agg(t.executor_id), array_agg(t.epoch), array_agg(t.lease_ms),
    array_agg(t.max_in_flight)
  into v_seq, v_holder, v_epoch, v_lease, v_room
  from (
    select m.seq, s.executor_id, s.epoch, s.lease_ms, s.max_in_flight
    from unnest(p_agent, p_seq) as m (agent_id, seq)
    join openclaw.subscription s on s.agent_id = m.agent_id
    where s.host = p_host
      and s.epoch > 0
      -- in this order: who has no need of the lock takes it from nobody
      and case
        when exists (
          select
          from openclaw.inbox o
          where o.agent_id = m.agent_id
            and o.state = 'ready'
            and o.inbox_seq <> m.seq
        ) then false
        when exists (
          select
          from openclaw.subscription o
          where o.agent_id = m.agent_id
            and o.executor_id <> s.executor_id
            and o.epoch > 0
        ) then false
        when exists (
          select
          from openclaw.agent a
          where a.agent_id = m.agent_id
            and a.status = 'active'
        ) then pg_try_advisory_xact_lock(hashtextextended('inbox ' || m.agent_id, 0))
      end
    for share of s skip locked
  ) t;
  if v_seq is null then
    return;
  end if;

  -- a statement of its own, for it has to see what was committed before the locks were there
  return query
  update openclaw.inbox i
  set state = 'leased',
    attempt = 1,
    claims = 1,
    holder = t.holder,
    delivery_id = i.inbox_seq || '.h' || translate(gen_random_uuid()::text, '-', ''),
    last_attempt_at = v_now,
    due_at = v_now + t.lease_ms
  from unnest(v_seq, v_holder, v_epoch, v_lease, v_room) as t (seq, holder, epoch, lease_ms, room)
  where i.inbox_seq = t.seq
    and case
      when exists (
        select
        from openclaw.inbox o
        where o.agent_id = i.agent_id
          and o.state = 'ready'
          and o.inbox_seq <> i.inbox_seq
      ) then false
      else (
        select count(*) < t.room and coalesce(bool_and(o.handed), true)
        from openclaw.inbox o
        where o.agent_id = i.agent_id
          and o.state = 'leased'
      )
    end
  returning i.inbox_seq, i.holder, concat_ws(' ', i.holder, t.epoch, i.due_at, i.delivery_id);
end
$$;

-- Of what was to be handed over, and nobody was there to take it: as if it never had been. How many.
-- Locks: inbox in the order of rank.
create or replace function openclaw.inbox_give_back(p_delivery text[])
returns bigint
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_count bigint;
begin
  with nobodys as (
    select i.inbox_seq
    from openclaw.inbox i
    where i.inbox_seq = any (array(select split_part(d, '.', 1)::bigint from unnest(p_delivery) as d))
      and i.delivery_id = any (p_delivery)
      and i.state = 'leased'
      and not i.handed
    order by i.rank, i.inbox_seq
    for update
  )
  update openclaw.inbox i
  set state = 'ready',
    attempt = 0,
    claims = 0,
    due_at = i.accepted_at,
    holder = null,
    delivery_id = null,
    last_attempt_at = null
  from nobodys n
  where i.inbox_seq = n.inbox_seq;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
