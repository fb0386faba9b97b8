-- Feeds the inbox with what a DBOS client sends to a mailbox (DBOSClient.send, send_message). The
-- gateway's own sends carry more than a notification can say, write the inbox row themselves,
-- and set openclaw.writer so that this trigger is not even called. What the agent does not take, or has
-- no room for, what is too large for a session, and what nobody could name when it is a dead letter is refused here as it is anywhere:
-- the client's send fails. In an allow-list these clients are called dbos.
-- Locks: the inbox's advisory lock and inbox_bound, as inbox_room says.
create or replace function openclaw.inbox_feed()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now bigint := openclaw.now_ms();
  v_agent openclaw.agent;
  v_most bigint;
begin
  select a.*
  into v_agent
  from openclaw.agent a
  where a.agent_id = substr(new.destination_uuid, 7);
  if not found then
    return null; -- a workflow of somebody's own whose id begins so, no mailbox
  end if;

  if octet_length(new.message_uuid) not between 1 and 512 or new.message_uuid ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise exception 'the id of a message has 1 to 512 bytes, none of them a control character'
      using errcode = 'OC005';
  end if;
  -- what no session could hand over: 4096 bytes are for the names and times of a delivery
  v_most := coalesce((select value::bigint from openclaw.setting where name = 'max_message_size'), 1048576) - 4096;
  if octet_length(new.message) > v_most then
    raise exception 'a message of % bytes is too large; % are allowed', octet_length(new.message), v_most
      using errcode = 'OC005';
  end if;
  if 'dbos' <> all (v_agent.allow_from) then
    raise exception 'the agent % does not take messages from DBOS clients', v_agent.agent_id
      using errcode = 'OC003';
  end if;
  if openclaw.inbox_room(
    v_agent.agent_id,
    coalesce(
      v_agent.inbox_limit,
      (select value::bigint from openclaw.setting where name = 'inbox_limit'),
      10000
    ),
    1
  ) < 1 then
    raise exception 'the inbox of the agent % is full', v_agent.agent_id
      using errcode = 'OC008';
  end if;

  insert into openclaw.inbox (
    agent_id, message_uuid, sender, max_attempts, accepted_at, due_at, expires_at
  )
  values (
    substr(new.destination_uuid, 7), new.message_uuid, 'dbos',
    coalesce((select value::integer from openclaw.setting where name = 'max_attempts'), 10),
    v_now, v_now,
    v_now + coalesce((select value::bigint from openclaw.setting where name = 'message_ttl_ms'), 604800000)
  );
  return null;
end
$$;

create or replace trigger openclaw_inbox_feed
after insert on dbos_system.notifications
for each row
when (
  new.destination_uuid like 'agent:%'
  and current_setting('openclaw.writer', true) is distinct from 'gateway'
)
execute function openclaw.inbox_feed();
