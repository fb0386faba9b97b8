-- name: agent_provision
-- params: text agent, text app, text version, text step, text by
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($4 names it)
select set_config(
  'openclaw.step_output_' || $4,
  format('{"agentId":"%s","mailbox":"agent:%s","created":%s}', $1, $1, openclaw.agent_provision($1, $2, $3, $5)::text),
  true
)
