-- name: conversation_add
-- params: text principal, text conversation, text agent, text workspace, text user, text message, text role, text content, text workflow, bool history, bool auto_provision, text step
-- rows: one
-- the effect of a transactional step: its output goes to the step's checkpoint ($12 names it)
select set_config(
  'openclaw.step_output_' || $12,
  openclaw.conversation_add($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)::text,
  true
)
