-- name: message_last
-- params:
-- rows: one
-- effect: none
select coalesce(max(i.inbox_seq), 0)
from openclaw.inbox i
