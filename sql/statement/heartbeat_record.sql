-- name: heartbeat_record
-- params: text workflow, text agent, text status, text response, text reason, int8 started, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($7 names it)
select set_config(
  'openclaw.step_output_' || $7,
  openclaw.heartbeat_record($1, $2, $3, $4::jsonb, $5, $6)::text,
  true
)
