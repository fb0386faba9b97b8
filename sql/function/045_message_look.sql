-- What became of messages: of each the workflow's outcome, and how far its delivery is. p_seq: their
-- places in the inboxes, 0 where the caller does not know it. A function, though it writes nothing,
-- because every sender who waits asks it for each message, and to plan it takes longer than to run it.
-- Locks: none.
create or replace function openclaw.message_look(p_id text[], p_seq bigint[])
returns table (
  workflow_uuid text,
  status text,
  output text,
  error text,
  inbox_seq bigint,
  state text,
  attempt integer,
  handed boolean,
  last_attempt_at bigint,
  message_id text
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
    w.workflow_uuid, w.status, coalesce(o.output, w.output), coalesce(o.error, w.error),
    b.inbox_seq, b.state, b.attempt,
    openclaw.metric_attempts(b.attempt, b.delivery_id, b.handed) > 0, b.last_attempt_at,
    openclaw.message_id(w.authenticated_user, w.workflow_uuid)
  from unnest(p_id, p_seq) as g (id, seq)
  join dbos_system.workflow_status w on w.workflow_uuid = g.id
  left join dbos_system.workflow_output o on o.workflow_uuid = w.workflow_uuid
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
    );
end
$$;
