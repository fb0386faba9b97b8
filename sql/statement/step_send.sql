-- name: step_send
-- params: text, int4, text, text, text, text
-- rows: one
select output, serialization
from openclaw.step_send($1, $2, $3, $4, $5, $6)
