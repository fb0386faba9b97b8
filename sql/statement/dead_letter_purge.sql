-- name: dead_letter_purge
-- params: text by, bool all, text recipient, text sender, text[] messages
-- rows: any
select message_uuid
from openclaw.dead_letter_purge($1, $2, $3, $4, $5)
