-- name: sweep_each
-- params: text duty, text app, bool legacy, int8 base_ms, int8 max_ms, int4 limit
-- rows: one
select done, failed
from openclaw.sweep_each($1, $2, $3, $4, $5, $6)
