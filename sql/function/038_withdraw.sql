-- A message whose workflow is ended by somebody else, a DBOS client that cancels or deletes it, a
-- deadline, is withdrawn with it. The client's transaction only writes down which workflow it was: the
-- inbox is locked in an order that it does not know of. No claim delivers such a message meanwhile.

create or replace function openclaw.carrier_ended()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
  insert into openclaw.ended_carrier (workflow_uuid)
  values (old.workflow_uuid)
  on conflict do nothing;
  return null;
end
$$;

create or replace trigger openclaw_carrier_cancelled
after update of status on dbos_system.workflow_status
for each row
when (new.status = 'CANCELLED' and old.status <> 'CANCELLED' and new.name = 'routeAgentMessage')
execute function openclaw.carrier_ended();

create or replace trigger openclaw_carrier_deleted
after delete on dbos_system.workflow_status
for each row
when (old.status in ('ENQUEUED', 'PENDING', 'DELAYED') and old.name = 'routeAgentMessage')
execute function openclaw.carrier_ended();

-- The messages, by their place in the inbox, that these workflows carry and that have not reached their
-- end: by the checkpoint of the step that stored each, and where that is deleted by the message itself.
create or replace function openclaw.carried(p_id text[])
returns bigint[]
language sql
stable
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
  select coalesce(array_agg(distinct c.inbox_seq), '{}')
  from (
    select i.inbox_seq
    from dbos_system.operation_outputs o
    join openclaw.inbox i on i.inbox_seq = openclaw.sent_seq(o.output)
    where o.workflow_uuid = any (p_id)
      and o.function_name = 'storeMessage'
      and o.error is null
      and i.workflow_uuid = o.workflow_uuid
      and i.state in ('ready', 'leased')
    union all
    select i.inbox_seq
    from unnest(p_id) as w (id)
    join dbos_system.notifications n on n.message_uuid = w.id
    join openclaw.inbox i
      on i.agent_id = substr(n.destination_uuid, 7)
      and i.workflow_uuid = w.id
      and i.state in ('ready', 'leased')
    where not exists (
      select
      from dbos_system.operation_outputs o
      where o.workflow_uuid = w.id
        and o.function_name = 'storeMessage'
    )
  ) c
$$;

-- Withdraws messages; says which were, and who waits for them.
-- Locks: inbox in the order of rank; a caller that locks workflows has done so before.
create or replace function openclaw.message_withdraw(p_seq bigint[], p_reason text)
returns table (withdrawn bigint, waiters text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
begin
  perform
  from openclaw.inbox i
  where i.inbox_seq = any (p_seq)
    and i.state in ('ready', 'leased')
  order by i.rank, i.inbox_seq
  for update;

  return query
  with gone as (
    update openclaw.inbox i
    set state = 'withdrawn',
      reason = p_reason,
      due_at = openclaw.now_ms()
    where i.inbox_seq = any (p_seq)
      and i.state in ('ready', 'leased')
    returning i.message_uuid, i.waiter
  ),
  consumed as (
    update dbos_system.notifications n
    set consumed = true
    from gone g
    where n.message_uuid = g.message_uuid
  )
  select count(*), array_agg(g.waiter)
  from gone g;
end
$$;

-- Withdraws the messages of workflows that were ended; not of those that somebody has resumed since.
-- Locks: workflow_status in the order of ids, skipping what others hold, ended_carrier, then as
-- message_withdraw.
create or replace function openclaw.carrier_withdraw(p_limit integer)
returns table (withdrawn bigint, bells text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
as $$
declare
  v_id text[];
  v_mine text[];
  v_ended text[];
  v_withdrawn bigint;
  v_waiters text[];
begin
  select array_agg(e.workflow_uuid)
  into v_id
  from (
    select c.workflow_uuid
    from openclaw.ended_carrier c
    order by c.workflow_uuid
    limit p_limit
  ) e;
  if v_id is null then
    return query select 0::bigint, '{}'::text[];
    return;
  end if;

  with locked as (
    select s.workflow_uuid, s.status
    from dbos_system.workflow_status s
    where s.workflow_uuid = any (v_id)
    order by s.workflow_uuid
    for no key update skip locked
  )
  select array_agg(l.workflow_uuid), array_agg(l.workflow_uuid) filter (where l.status = 'CANCELLED')
  into v_mine, v_ended
  from locked l;
  v_id := array(
    select w.id
    from unnest(v_id) as w (id)
    where not exists (select from dbos_system.workflow_status s where s.workflow_uuid = w.id)
  );
  delete from openclaw.ended_carrier e
  where e.workflow_uuid = any (v_mine || v_id);

  select w.withdrawn, w.waiters
  into v_withdrawn, v_waiters
  from openclaw.message_withdraw(openclaw.carried(v_ended || v_id), 'its workflow was cancelled') w;
  return query select v_withdrawn, array(
    select x.host || '/' || x.executor_id
    from openclaw.executor x
    where x.executor_id = any (v_waiters)
  );
end
$$;
