-- name: step_stream
-- params: text, int4, text, text, text, text
-- rows: one
select output, serialization
from openclaw.step_stream($1, $2, $3, $4, $5, $6)
