-- name: bridge
-- params: text app, bool legacy, int4 limit
-- rows: one
select dispatched, settled, bells
from openclaw.bridge($1, $2, $3)
