-- name: migration_list
-- params: none
-- rows: any
-- effect: none
select name, applied_at
from openclaw.migration
order by name
