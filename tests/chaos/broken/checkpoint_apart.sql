-- SPDX-License-Identifier: MIT
-- A gateway that is broken on purpose, and only in a test's database: the checkpoint of storeMessage is
-- committed by itself, and its effect, the message's place in the inbox, follows in another transaction.
-- What is owed in between is remembered as a process remembers things: a crash of the server forgets it.
create unlogged table chaos.owed (like openclaw.inbox including defaults);

alter table chaos.owed
  alter column inbox_seq set default nextval(pg_get_serial_sequence('openclaw.inbox', 'inbox_seq'));

grant usage on schema chaos to public;
grant select, insert, delete on chaos.owed to public;
grant usage on all sequences in schema openclaw to public;

do $$
declare
  v_source text := pg_get_functiondef('openclaw.workflow_commit'::regproc);
  v_line constant text := 'insert into openclaw.inbox (';
begin
  if position(v_line in v_source) = 0 then
    raise exception 'workflow_commit has no line %: this variant is out of date', v_line;
  end if;
  execute replace(v_source, v_line, 'insert into chaos.owed (');
end
$$;

-- the second transaction: whenever a sweeper looks for bells that were lost
alter function openclaw.inbox_overdue(bigint) rename to inbox_overdue_whole;

create function openclaw.inbox_overdue(p_grace_ms bigint)
returns table (bell text)
language plpgsql
as $$
begin
  with moved as (
    delete from chaos.owed
    returning *
  )
  insert into openclaw.inbox (
    inbox_seq, agent_id, message_uuid, sender, workflow_uuid, await_step, waiter, expects_reply,
    priority, max_attempts, accepted_at, due_at, expires_at
  )
  overriding system value
  select
    o.inbox_seq, o.agent_id, o.message_uuid, o.sender, o.workflow_uuid, o.await_step, o.waiter, o.expects_reply,
    o.priority, o.max_attempts, o.accepted_at, o.due_at, o.expires_at
  from moved o
  order by o.inbox_seq;
  return query
  select w.bell
  from openclaw.inbox_overdue_whole(p_grace_ms) w;
end
$$;
