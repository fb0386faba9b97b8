-- name: message_review
-- params: text, bool, int8, text workflow, text token
-- rows: one
select state, again_ms, result, bell
from openclaw.message_review($1, $2, $3, $4, $5)
