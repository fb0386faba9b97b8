-- name: migration_list
-- params: none
-- rows: any
select name, applied_at
from openclaw.migration
order by name
