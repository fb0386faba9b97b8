-- name: agent_bridge
-- params: text agent, text queue, text workflow, text application
-- rows: one
-- from now on the agent's messages are workflows of a DBOS application
update openclaw.agent
set configuration = configuration
    || jsonb_build_object('dbos', jsonb_build_object('queue', $2, 'workflow', $3, 'application', $4)),
  version = version + 1,
  updated_at = openclaw.now_ms()
where agent_id = $1
returning agent_id
