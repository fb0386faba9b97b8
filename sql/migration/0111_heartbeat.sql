-- What a heartbeat that has ended without planning the next one is found by.
alter table openclaw.agent
  -- the heartbeat that began last, until it has planned the next one
  add column heartbeat_running text;

create index agent_heartbeat on openclaw.agent (agent_id)
  where status = 'active' and (heartbeat ->> 'enabled')::boolean;
