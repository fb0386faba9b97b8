-- name: inbox_subscribe
-- params: text, text, text, bool, int4, int8, int8 call
-- rows: one
select epoch, pending, in_flight, bells
from openclaw.inbox_subscribe($1, $2, $3, $4, $5, $6, $7)
