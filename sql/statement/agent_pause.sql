-- name: agent_pause
-- params: text by, text agent, text status, text reason, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($5 names it)
select set_config('openclaw.step_output_' || $5, openclaw.agent_pause($1, $2, $3, $4)::text, true)
