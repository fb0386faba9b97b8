-- name: inbox_overdue
-- params: int8
-- rows: any
select bell
from openclaw.inbox_overdue($1)
