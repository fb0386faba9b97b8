-- name: workflow_get
-- params: text
-- rows: optional
-- effect: none
select
  w.workflow_uuid, w.status, w.name, w.authenticated_user, w.serialization,
  coalesce(i.inputs, w.inputs), coalesce(o.output, w.output), coalesce(o.error, w.error),
  w.executor_id, w.application_name, w.application_version, w.queue_name, w.recovery_attempts,
  w.created_at, w.updated_at, w.started_at_epoch_ms, w.completed_at, w.delay_until_epoch_ms,
  w.workflow_deadline_epoch_ms, w.parent_workflow_id, w.forked_from, w.priority, w.attributes::text
from dbos_system.workflow_status w
left join dbos_system.workflow_input i on i.workflow_uuid = w.workflow_uuid
left join dbos_system.workflow_output o on o.workflow_uuid = w.workflow_uuid
where w.workflow_uuid = $1
