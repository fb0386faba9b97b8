-- name: message_fates
-- params: int8[]
-- rows: any
-- effect: none
-- merges: +
select
  ord, inbox_seq, message_id, message_uuid, agent_id, state, attempt, at, reason, response, asked
from openclaw.message_fates($1)
