-- name: inbox_extend
-- params: text, int8[], text[], int8
-- rows: any
select delivery_id, lease_expires_at, bell
from openclaw.inbox_extend($1, $2, $3, $4)
