-- name: message_look
-- params: text[], int8[]
-- rows: any
-- effect: none
-- merges: ++
select
  ord, workflow_uuid, status, output, error, inbox_seq, state, attempt, handed, last_attempt_at, message_id,
  principal
from openclaw.message_look($1, $2)
