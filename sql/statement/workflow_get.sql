-- name: workflow_get
-- params: text first, text second, text principal
-- rows: optional
-- effect: none
-- the first of two ids under which the principal has a workflow; null: anybody's
select
  w.workflow_uuid, w.status, w.name, w.authenticated_user, w.serialization,
  coalesce(i.inputs, w.inputs), coalesce(o.output, w.output), coalesce(o.error, w.error),
  w.executor_id, w.application_name, w.application_version, w.queue_name, w.recovery_attempts,
  w.created_at, w.updated_at, w.started_at_epoch_ms, w.completed_at, w.delay_until_epoch_ms,
  w.workflow_deadline_epoch_ms, w.parent_workflow_id, w.forked_from, w.priority, w.attributes::text
from dbos_system.workflow_status w
left join dbos_system.workflow_input i on i.workflow_uuid = w.workflow_uuid
left join dbos_system.workflow_output o on o.workflow_uuid = w.workflow_uuid
where w.workflow_uuid in ($1, $2)
  and ($3 is null or w.authenticated_user = $3)
order by w.workflow_uuid = $1 desc
limit 1
