-- name: presence_changes
-- params: int8 since, int8 suspect
-- rows: one
-- effect: none
select now_ms, bells
from openclaw.presence_changes($1, $2)
