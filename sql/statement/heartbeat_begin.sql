-- name: heartbeat_begin
-- params: text agent, text workflow, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($3 names it)
select set_config('openclaw.step_output_' || $3, openclaw.heartbeat_begin($1, $2)::text, true)
