-- name: inbox_expire_leases
-- params: text, bool, int8, int8, int4
-- rows: one
select retried, dead, bells
from openclaw.inbox_expire_leases($1, $2, $3, $4, $5)
