-- name: workflow_await
-- params: text, text, text, text, int4, int4, text, text, int8
-- rows: one
select state, output, error, serialization
from openclaw.workflow_await($1, $2, $3, $4, $5, $6, $7, $8, $9)
