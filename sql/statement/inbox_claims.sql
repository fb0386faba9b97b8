-- name: inbox_claims
-- params: text[], text[], int8[], int4[], int4[], int8[], text[], int8[]
-- rows: any
-- inbox_claim for several receivers at once
select
  ord, next_due_ms, inbox_seq, delivery_id, message_id, message_uuid, sender, workflow_uuid, serialization,
  message, attempt, max_attempts, redelivered, expects_reply, accepted_at, expires_at, lease_expires_at
from openclaw.inbox_claims($1, $2, $3, $4, $5, $6, $7, $8)
