-- What became of messages: of each the workflow's outcome, and how far its delivery is. p_seq: their
-- places in the inboxes, 0 where the caller does not know it. Of one whose workflow has failed and
-- that another workflow carries since (it was redriven) the outcome is that one's. A function, though it writes nothing,
-- because every sender who waits asks it for each message, and to plan it takes longer than to run it.
-- Locks: none.
create or replace function openclaw.message_look(p_id text[], p_seq bigint[])
returns table (
  ord integer,
  workflow_uuid text,
  status text,
  output text,
  error text,
  inbox_seq bigint,
  state text,
  attempt integer,
  handed boolean,
  last_attempt_at bigint,
  message_id text,
  principal text
)
language plpgsql
stable
set search_path = pg_catalog
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
  select
    g.ord::integer, w.workflow_uuid, coalesce(c.status, w.status),
    coalesce(o.output, c.output, w.output), coalesce(o.error, c.error, w.error),
    b.inbox_seq, b.state, b.attempt,
    openclaw.metric_attempts(b.attempt, b.delivery_id, b.handed) > 0, b.last_attempt_at,
    openclaw.message_id(w.authenticated_user, w.workflow_uuid), w.authenticated_user
  from unnest(p_id, p_seq) with ordinality as g (id, seq, ord)
  join dbos_system.workflow_status w on w.workflow_uuid = g.id
  left join openclaw.inbox b
    on b.inbox_seq = coalesce(
      nullif(g.seq, 0),
      (
        select openclaw.sent_seq(c.output)
        from dbos_system.operation_outputs c
        where c.workflow_uuid = w.workflow_uuid
          and c.function_name = 'storeMessage'
        order by c.function_id
        limit 1
      )
    )
  left join dbos_system.workflow_status c
    on c.workflow_uuid = case when w.status = 'ERROR' then nullif(b.workflow_uuid, w.workflow_uuid) end
  left join dbos_system.workflow_output o on o.workflow_uuid = coalesce(c.workflow_uuid, w.workflow_uuid);
end
$$;

-- Of these places in inboxes, those whose message was handed over, be it before, or has reached its
-- end. Of a message that has failed and was sent once more since, by a workflow that was taken back to
-- before the send, it tells the new place (inbox_seq) under the old one (asked).
-- Locks: none.
create or replace function openclaw.message_fates(p_seq bigint[])
returns table (
  ord integer,
  inbox_seq bigint,
  message_id text,
  message_uuid text,
  agent_id text,
  state text,
  attempt integer,
  at bigint,
  reason text,
  response text,
  asked bigint
)
language plpgsql
stable
set search_path = pg_catalog
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
  select
    g.ord::integer, i.inbox_seq, openclaw.message_id(i.sender, i.message_uuid), i.message_uuid, i.agent_id, i.state,
    i.attempt, case when i.state in ('ready', 'leased') then i.last_attempt_at else i.due_at end, i.reason,
    (
      select openclaw.reply_of(o.output)
      from dbos_system.operation_outputs o
      where o.workflow_uuid = i.workflow_uuid
        and o.function_id = i.await_step
        and i.state = 'acked'
    ),
    p.inbox_seq
  from unnest(p_seq) with ordinality as g (seq, ord)
  join openclaw.inbox p on p.inbox_seq = g.seq
  join openclaw.inbox i
    on i.inbox_seq = case
      when p.state in ('dead', 'withdrawn') then coalesce(
        (
          select openclaw.sent_seq(c.output)
          from dbos_system.operation_outputs c
          where c.workflow_uuid = p.workflow_uuid
            and c.function_name = 'storeMessage'
          order by c.function_id
          limit 1
        ),
        p.inbox_seq
      )
      else p.inbox_seq
    end
  where i.state not in ('ready', 'leased')
    or openclaw.metric_attempts(i.attempt, i.delivery_id, i.handed) > 0
  order by i.inbox_seq;
end
$$;
