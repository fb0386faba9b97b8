-- name: inbox_nack
-- params: text, bool, text, int8, text, int8, bool, text, int8, int8
-- rows: optional
select state, attempt, due_at, due_in_ms, bell
from openclaw.inbox_nack($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
