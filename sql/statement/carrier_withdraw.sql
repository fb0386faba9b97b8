-- name: carrier_withdraw
-- params: int4 limit
-- rows: one
select withdrawn, bells
from openclaw.carrier_withdraw($1)
