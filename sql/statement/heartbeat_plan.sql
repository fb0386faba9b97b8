-- name: heartbeat_plan
-- params: text agent, text by, text parent, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($4 names it)
select set_config(
  'openclaw.step_output_' || $4,
  coalesce(to_json(openclaw.heartbeat_plan($1, $2, $3)), 'null')::text,
  true
)
