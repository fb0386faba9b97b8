-- name: workflow_steps
-- params: text
-- rows: any
-- effect: none
select
  function_id, function_name, output, error, child_workflow_id,
  started_at_epoch_ms, completed_at_epoch_ms, serialization
from dbos_system.operation_outputs
where workflow_uuid = $1
order by function_id
