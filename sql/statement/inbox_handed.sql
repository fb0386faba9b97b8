-- name: inbox_handed
-- params: int8[], text[]
-- rows: any
select bell
from openclaw.inbox_handed($1, $2)
