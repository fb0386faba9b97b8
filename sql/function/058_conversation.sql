-- Conversations: what a principal and an agent have said to each other.

-- Adds a message; the same id again adds none. The first one begins the conversation; one that is
-- held with another agent refuses, and an answer begins none. p_history: with the messages before it, the newest twenty and of
-- these no more than 32 KiB, the oldest first. {messageId,at,history?}
-- Locks: conversation.
create or replace function openclaw.conversation_add(
  p_principal text,
  p_conversation text,
  p_agent text,
  p_workspace text,
  p_user text,
  p_message text,
  p_role text,
  p_content text,
  p_workflow text,
  p_history boolean,
  p_auto_provision boolean
)
returns jsonb
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_messages constant integer := 20;
  v_bytes constant integer := 32768;
  v_agent text;
  v_position bigint;
  v_history jsonb;
begin
  if p_role = 'user' then
    if not p_auto_provision and not exists (
      select
      from openclaw.agent a
      where a.agent_id = p_agent
        and (a.allow_from is null or p_principal = any (a.allow_from))
    ) then
      raise exception 'gatewayctl agent add makes one'
        using errcode = 'OC011';
    end if;

    insert into openclaw.conversation (principal_id, conversation_id, agent_id, workspace_id, user_id)
    values (p_principal, p_conversation, p_agent, p_workspace, p_user)
    on conflict (principal_id, conversation_id) do nothing;
  elsif not exists (
    select
    from openclaw.conversation c
    where c.principal_id = p_principal
      and c.conversation_id = p_conversation
  ) then
    -- deleted since the question was asked: the answer does not bring it back
    return jsonb_build_object('messageId', p_message, 'at', v_now);
  end if;

  select c.agent_id
  into v_agent
  from openclaw.conversation c
  where c.principal_id = p_principal
    and c.conversation_id = p_conversation
  for no key update;
  if not found then
    raise exception 'the conversation % was deleted meanwhile', p_conversation
      using errcode = 'serialization_failure';
  end if;
  if v_agent <> p_agent then
    raise exception 'the conversation % is held with the agent %; choose another id', p_conversation, v_agent
      using errcode = 'OC012';
  end if;

  insert into openclaw.conversation_message (
    principal_id, conversation_id, message_id, role, content, workflow_uuid, created_at
  )
  values (p_principal, p_conversation, p_message, p_role, p_content, p_workflow, v_now)
  on conflict (principal_id, conversation_id, message_id) do nothing
  returning position
  into v_position;
  if v_position is not null then
    update openclaw.conversation c
    set updated_at = v_now
    where c.principal_id = p_principal
      and c.conversation_id = p_conversation;
  end if;

  if p_history then
    select jsonb_agg(jsonb_build_object('role', h.role, 'content', h.content) order by h.position)
    into v_history
    from (
      select
        m.position, m.role, m.content,
        sum(octet_length(m.content)) over (order by m.position desc) as bytes
      from openclaw.conversation_message m
      where m.principal_id = p_principal
        and m.conversation_id = p_conversation
        and m.message_id <> p_message
      order by m.position desc
      limit v_messages
    ) h
    where h.bytes <= v_bytes;
  end if;
  return jsonb_strip_nulls(jsonb_build_object('messageId', p_message, 'at', v_now, 'history', v_history));
end
$$;
