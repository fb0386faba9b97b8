-- name: step_child
-- params: text, int4, text, text, bool, text, text, text, text, text
-- rows: one
select output, serialization
from openclaw.step_child($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
