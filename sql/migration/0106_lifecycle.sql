-- What provisioning says of an agent, what its heartbeats found, and what was said in chats.
alter table openclaw.agent
  add column user_id text,
  add column session_key text,
  -- {enabled, interval, checklist, timeoutMs}
  add column heartbeat jsonb,
  -- the heartbeat that is planned next
  add column heartbeat_workflow text,
  -- {at, by, reason} while it is paused
  add column paused jsonb;

-- one execution of a heartbeat; the newest hundred of each agent are kept
create table openclaw.heartbeat (
  workflow_uuid text primary key,
  agent_id text not null
    references openclaw.agent on delete cascade,
  status text not null
    check (status in ('completed', 'failed', 'skipped')),
  response jsonb,
  reason text,
  started_at bigint not null,
  finished_at bigint not null
);

create index heartbeat_agent on openclaw.heartbeat (agent_id, finished_at, workflow_uuid);

-- Conversations belong to whoever holds them with an agent; another principal's of the same id is
-- another conversation.
create table openclaw.conversation (
  principal_id text not null,
  conversation_id text not null,
  agent_id text not null,
  workspace_id text,
  user_id text,
  created_at bigint not null default openclaw.now_ms(),
  updated_at bigint not null default openclaw.now_ms(),
  primary key (principal_id, conversation_id)
);

create table openclaw.conversation_message (
  position bigint generated always as identity primary key,
  principal_id text not null,
  conversation_id text not null,
  message_id text not null,
  role text not null
    check (role in ('user', 'assistant')),
  content text not null,
  workflow_uuid text not null,
  created_at bigint not null default openclaw.now_ms(),
  unique (principal_id, conversation_id, message_id),
  foreign key (principal_id, conversation_id)
    references openclaw.conversation on delete cascade
);

create index conversation_message_order
  on openclaw.conversation_message (principal_id, conversation_id, position);
