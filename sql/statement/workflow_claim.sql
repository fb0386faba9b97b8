-- name: workflow_claim
-- params: text, text, text, text, text[], int8, int4
-- rows: any
select workflow_uuid, name, principal, serialization, input, recovery_attempts, now_ms,
  traceparent
from openclaw.workflow_claim($1, $2, $3, $4, $5, $6, $7)
