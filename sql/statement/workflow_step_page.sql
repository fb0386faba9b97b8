-- name: workflow_step_page
-- params: text, int8 after, text, int4 limit
-- rows: any
-- effect: none
-- those behind step $2; $3 is the empty rest of a cursor
select
  o.function_id, o.function_name, o.output, o.error, o.child_workflow_id,
  o.started_at_epoch_ms, o.completed_at_epoch_ms, o.serialization
from dbos_system.operation_outputs o
where o.workflow_uuid = $1
  and ($2 is null or $3 is null or o.function_id > $2)
order by o.function_id
limit $4
