-- Deletes what was finished longer than p_retention_ms ago, at most p_limit of each kind: one call is
-- one transaction, and as long as a kind comes back full there is more.
--
--   messages   settled ones: the delivery state, and the message in the mailbox, which was consumed.
--              A mailbox itself, and what is in it unread, is never touched
--   workflows  ended ones of this application with their payloads and checkpoints; events, streams and
--              messages to them go with the row
--   orphans    payloads and checkpoints without a workflow: clients before 5.0 delete only the row
--   executors  processes that have ended
--
-- An id that is used again afterwards is a new workflow. One deletes at a time, DBOS' own retention
-- included (its lock); who comes second deletes nothing, and hears that another is at it (busy).
-- Locks: the advisory lock, then each kind in the order above, skipping what others hold.
create or replace function openclaw.prune(p_app text, p_retention_ms bigint, p_limit integer)
returns table (messages bigint, workflows bigint, orphans bigint, executors bigint, busy boolean)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_before constant bigint := openclaw.now_ms() - p_retention_ms;
  -- the first eight bytes of the SHA-256 of this text are DBOS' key
  v_lock constant bigint :=
    ('x' || encode(substr(sha256('dbos.retention.dbos_system'::bytea), 1, 8), 'hex'))::bit(64)::bigint;
  v_messages bigint;
  v_ids text[];
  v_count bigint;
  v_orphans bigint := 0;
  v_executors bigint;
  v_old bigint[];
begin
  if not pg_try_advisory_xact_lock(v_lock) then
    return query select 0::bigint, 0::bigint, 0::bigint, 0::bigint, true;
    return;
  end if;

  v_old := array(
    select i.inbox_seq
    from openclaw.inbox i
    where i.state in ('acked', 'dead', 'expired', 'withdrawn')
      and i.due_at < v_before
    order by i.due_at
    limit p_limit
    for update skip locked
  );
  perform openclaw.metric_keep(v_old, true);

  with gone as (
    delete from openclaw.inbox i
    where i.inbox_seq = any (v_old)
    returning i.inbox_seq, i.agent_id, i.message_uuid
  ),
  read as (
    delete from dbos_system.notifications n
    using gone g
    where n.message_uuid = g.message_uuid
      and n.destination_uuid = 'agent:' || g.agent_id
      and n.consumed
      -- a message that was sent once more is another row's
      and not exists (
        select
        from openclaw.inbox i
        where i.agent_id = g.agent_id
          and i.state in ('ready', 'leased')
          and i.message_uuid = g.message_uuid
      )
  )
  select count(*)
  into v_messages
  from gone;

  with old as (
    select s.workflow_uuid
    from dbos_system.workflow_status s
    where s.completed_at < v_before
      and s.status in ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
      and (s.application_name = p_app or s.attributes ? 'openclawMessage')
      -- what the bridge has yet to settle: its output is the reply
      and not exists (
        select
        from openclaw.dispatch d
        where d.workflow_uuid = s.workflow_uuid
      )
      and not exists (
        select
        from openclaw.agent a
        where s.workflow_uuid like 'agent:%'
          and a.agent_id = substr(s.workflow_uuid, 7)
      )
    order by s.completed_at
    limit p_limit
    for update skip locked
  )
  select coalesce(array_agg(o.workflow_uuid), '{}')
  into v_ids
  from old o;

  if cardinality(v_ids) > 0 then
    delete from dbos_system.workflow_input i
    where i.workflow_uuid = any (v_ids);
    delete from dbos_system.workflow_output o
    where o.workflow_uuid = any (v_ids);
    delete from dbos_system.operation_outputs o
    where o.workflow_uuid = any (v_ids);
    delete from dbos_system.workflow_status s
    where s.workflow_uuid = any (v_ids);
  end if;

  delete from dbos_system.workflow_input i
  where i.ctid = any (array(
    select o.ctid
    from dbos_system.workflow_input o
    where o.retention_timestamp < v_before
      and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    limit p_limit
    for update skip locked
  ));
  get diagnostics v_count = row_count;
  v_orphans := v_orphans + v_count;

  delete from dbos_system.workflow_output i
  where i.ctid = any (array(
    select o.ctid
    from dbos_system.workflow_output o
    where o.retention_timestamp < v_before
      and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    limit p_limit
    for update skip locked
  ));
  get diagnostics v_count = row_count;
  v_orphans := v_orphans + v_count;

  delete from dbos_system.operation_outputs i
  where i.ctid = any (array(
    select o.ctid
    from dbos_system.operation_outputs o
    where o.retention_timestamp < v_before
      and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    limit p_limit
    for update skip locked
  ));
  get diagnostics v_count = row_count;
  v_orphans := v_orphans + v_count;

  with old as (
    select x.executor_id
    from openclaw.executor x
    where x.ended_at < v_before
    order by x.ended_at
    limit p_limit
    for update skip locked
  )
  delete from openclaw.executor x
  using old o
  where x.executor_id = o.executor_id;
  get diagnostics v_executors = row_count;

  return query select v_messages, cardinality(v_ids)::bigint, v_orphans, v_executors, false;
end
$$;

-- What prune would delete, all of it: the same conditions.
create or replace function openclaw.prune_preview(p_app text, p_retention_ms bigint)
returns table (messages bigint, workflows bigint, orphans bigint, executors bigint)
language sql
stable
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  select
    (
      select count(*)
      from openclaw.inbox i
      where i.state in ('acked', 'dead', 'expired', 'withdrawn')
        and i.due_at < b.before
    ),
    (
      select count(*)
      from dbos_system.workflow_status s
      where s.completed_at < b.before
        and s.status in ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
        and (s.application_name = p_app or s.attributes ? 'openclawMessage')
        and not exists (
          select
          from openclaw.dispatch d
          where d.workflow_uuid = s.workflow_uuid
        )
        and not exists (
          select
          from openclaw.agent a
          where s.workflow_uuid like 'agent:%'
            and a.agent_id = substr(s.workflow_uuid, 7)
        )
    ),
    (
      select count(*)
      from dbos_system.workflow_input o
      where o.retention_timestamp < b.before
        and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    ) + (
      select count(*)
      from dbos_system.workflow_output o
      where o.retention_timestamp < b.before
        and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    ) + (
      select count(*)
      from dbos_system.operation_outputs o
      where o.retention_timestamp < b.before
        and not exists (select from dbos_system.workflow_status s where s.workflow_uuid = o.workflow_uuid)
    ),
    (
      select count(*)
      from openclaw.executor x
      where x.ended_at < b.before
    )
  from (select openclaw.now_ms() - p_retention_ms as before) b
$$;
