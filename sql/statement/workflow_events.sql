-- name: workflow_events
-- params: text
-- rows: any
-- effect: none
select function_id, key, value, serialization
from dbos_system.workflow_events_history
where workflow_uuid = $1
order by function_id, key
