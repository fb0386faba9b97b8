-- name: agent_configure
-- params: text by, text agent, text change, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($4 names it)
select set_config(
  'openclaw.step_output_' || $4,
  coalesce(
    (
      select jsonb_build_object('agentId', c.agent_id, 'version', c.version)::text
      from openclaw.agent_change($1, $2, $3::jsonb, null) c
    ),
    'null'
  ),
  true
)
