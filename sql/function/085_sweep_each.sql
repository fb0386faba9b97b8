-- The sweeper's second way. Its transitions work on sets, so one row that cannot be changed (a
-- unique index, somebody's trigger, a corrupt value) fails the set; then this does the same row by
-- row, each in a subtransaction, so that the others go on. A row that fails is put off where that is
-- possible, and named.

-- What to wake, to cancel, to give another try or to expire, whichever p_duty says: 'wake',
-- 'deadlines', 'leases' or 'foreign'. One row: how many were done, and which failed, as
-- "<id>: <SQLSTATE>", at most ten.
-- Locks: as the transition of the duty, a row at a time.
create or replace function openclaw.sweep_each(
  p_duty text,
  p_app text,
  p_legacy boolean,
  p_base_ms bigint,
  p_max_ms bigint,
  p_limit integer
)
returns table (done bigint, failed text[])
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_put_off_ms constant bigint := 60000;
  v_now constant bigint := openclaw.now_ms();
  v_done bigint := 0;
  v_failed text[] := '{}';
  v_row record;
begin
  if p_duty in ('wake', 'deadlines') then
    for v_row in
      select s.workflow_uuid
      from dbos_system.workflow_status s
      where p_duty = 'wake'
        and s.status = 'DELAYED'
        and s.delay_until_epoch_ms <= v_now
        and (s.application_name = p_app or s.application_name is null)
        and s.name <> 'agent'
      union all
      select s.workflow_uuid
      from dbos_system.workflow_status s
      where p_duty = 'deadlines'
        and s.status in ('ENQUEUED', 'PENDING', 'DELAYED')
        and s.workflow_deadline_epoch_ms <= v_now
        and (s.application_name = p_app or s.application_name is null)
      limit p_limit
    loop
      begin
        perform
        from dbos_system.workflow_status s
        where s.workflow_uuid = v_row.workflow_uuid
        for no key update skip locked;
        continue when not found;

        update dbos_system.workflow_status s
        set status = case p_duty when 'wake' then 'ENQUEUED' else 'CANCELLED' end,
          owner_xid = case p_duty when 'wake' then s.owner_xid end,
          queue_name = case p_duty when 'wake' then openclaw.wake_queue(s.queue_name, s.queue_partition_key, s.started_at_epoch_ms) end,
          deduplication_id = case when p_duty = 'wake' and not s.is_debounced then s.deduplication_id end,
          started_at_epoch_ms = case p_duty when 'wake' then s.started_at_epoch_ms end,
          updated_at = v_now,
          completed_at = case p_duty when 'wake' then s.completed_at else v_now end
        where s.workflow_uuid = v_row.workflow_uuid
          and case p_duty
            when 'wake' then s.status = 'DELAYED' and s.delay_until_epoch_ms <= v_now
            else s.status in ('ENQUEUED', 'PENDING', 'DELAYED') and s.workflow_deadline_epoch_ms <= v_now
          end;
        v_done := v_done + 1;
      exception
        when others then
          v_failed := v_failed || (v_row.workflow_uuid || ': ' || sqlstate);
          begin
            perform set_config('openclaw.writer', 'gateway', true);
            update dbos_system.workflow_status s
            set delay_until_epoch_ms = v_now + v_put_off_ms
            where s.workflow_uuid = v_row.workflow_uuid
              and s.status = 'DELAYED'
              and p_duty = 'wake';
            perform set_config('openclaw.writer', '', true);
          exception
            when others then
              null; -- it is looked at again with the next sweep
          end;
      end;
    end loop;
  else
    for v_row in
      select i.inbox_seq, i.delivery_id, i.message_uuid
      from openclaw.inbox i
      where p_duty = 'leases'
        and i.state = 'leased'
        and i.due_at <= v_now
      union all
      select i.inbox_seq, i.delivery_id, i.message_uuid
      from openclaw.inbox i
      where p_duty = 'foreign'
        and i.workflow_uuid is null
        and i.state in ('ready', 'leased')
        and i.expires_at <= v_now
      limit p_limit
    loop
      begin
        if p_duty = 'leases' then
          perform openclaw.inbox_retry(
            p_app, p_legacy, array[v_row.inbox_seq], array[v_row.delivery_id], false, true, null, false,
            'its lease ended without an answer', p_base_ms, p_max_ms
          );
        else
          perform openclaw.message_settle(
            p_app, p_legacy, array[v_row.inbox_seq], array[null], 'expired', array[null], null
          );
        end if;
        v_done := v_done + 1;
      exception
        when others then
          v_failed := v_failed || (v_row.message_uuid || ': ' || sqlstate);
          begin
            update openclaw.inbox i
            set due_at = v_now + v_put_off_ms,
              expires_at = case p_duty when 'foreign' then v_now + v_put_off_ms else i.expires_at end
            where i.inbox_seq = v_row.inbox_seq;
          exception
            when others then
              null;
          end;
      end;
    end loop;
  end if;

  return query select v_done, v_failed[1:10];
end
$$;
