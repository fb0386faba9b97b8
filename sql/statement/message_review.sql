-- name: message_review
-- params: text, bool, int8
-- rows: one
select state, again_ms, result, bell
from openclaw.message_review($1, $2, $3)
