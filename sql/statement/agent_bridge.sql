-- name: agent_bridge
-- params: text agent, text queue, text workflow, text application
-- rows: one
-- from now on the agent's messages are workflows of a DBOS application; queue null: not any more
update openclaw.agent
set configuration = case
    when $2::text is null then configuration - 'dbos'
    else configuration
      || jsonb_build_object('dbos', jsonb_build_object('queue', $2, 'workflow', $3, 'application', $4))
  end,
  version = version + 1,
  updated_at = openclaw.now_ms()
where agent_id = $1
returning agent_id
