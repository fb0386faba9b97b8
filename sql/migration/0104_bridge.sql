-- agents that are DBOS applications, of which there are few
create index agent_dbos on openclaw.agent (agent_id)
  where configuration ? 'dbos';
