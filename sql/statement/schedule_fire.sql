-- name: schedule_fire
-- params: text app, bool legacy, text[] names, int4 limit
-- rows: one
select fired, more, failed
from openclaw.schedule_fire($1, $2, $3, $4)
