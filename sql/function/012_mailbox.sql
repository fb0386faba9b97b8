-- A mailbox is a row of workflow_status, so any DBOS client can reach for it as for a workflow. It stays
-- as it is for as long as its agent lives: parked, with what is unread in it. A client that cancels or
-- resumes it changes nothing; one that forks or deletes it is refused, and so loses no message.

create or replace function openclaw.mailbox_keep()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    if exists (select from openclaw.agent a where 'agent:' || a.agent_id = new.forked_from) then
      raise exception 'a mailbox cannot be forked: %', new.forked_from
        using errcode = 'OC005';
    end if;
    return null;
  end if;
  if not exists (select from openclaw.agent a where 'agent:' || a.agent_id = old.workflow_uuid) then
    return null;
  end if;
  if tg_op = 'DELETE' then
    raise exception 'the mailbox % cannot be deleted while its agent is there', old.workflow_uuid
      using errcode = 'OC005';
  end if;
  update dbos_system.workflow_status s
  set status = 'DELAYED',
    delay_until_epoch_ms = 253402300799000,
    owner_xid = null,
    executor_id = '',
    queue_name = null,
    deduplication_id = null,
    recovery_attempts = 0,
    started_at_epoch_ms = null,
    completed_at = null
  where s.workflow_uuid = old.workflow_uuid;
  return null;
end
$$;

create or replace trigger openclaw_mailbox_changed
after update of status on dbos_system.workflow_status
for each row
when (old.name = 'agent' and new.status <> 'DELAYED')
execute function openclaw.mailbox_keep();

create or replace trigger openclaw_mailbox_deleted
after delete on dbos_system.workflow_status
for each row
when (old.name = 'agent')
execute function openclaw.mailbox_keep();

create or replace trigger openclaw_mailbox_forked
after insert on dbos_system.workflow_status
for each row
when (new.name = 'agent' and new.forked_from is not null)
execute function openclaw.mailbox_keep();
