-- name: dead_letter_redrive
-- params: text app, text version, int8 inbox_limit, text by, bool all, text recipient, text sender, text[] messages, text[] forks
-- rows: any
select message_uuid, outcome, message_id, agent_id, inbox_seq, workflow_uuid, expires_at, bells
from openclaw.dead_letter_redrive($1, $2, $3, $4, $5, $6, $7, $8, $9)
