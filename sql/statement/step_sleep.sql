-- name: step_sleep
-- params: text, int4, text, int8
-- rows: one
select output, serialization
from openclaw.step_sleep($1, $2, $3, $4)
