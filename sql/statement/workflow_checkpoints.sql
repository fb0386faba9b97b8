-- name: workflow_checkpoints
-- params: text
-- rows: any
-- effect: none
select function_id, function_name, output, error, serialization, child_workflow_id
from dbos_system.operation_outputs
where workflow_uuid = $1
order by function_id
