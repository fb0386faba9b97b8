-- name: workflow_list
-- params: text[], text, text, int8, int8, text, int8, text, int4, text attributes
-- rows: any
-- effect: none
-- $1 statuses, $2 name, $3 queue, $4 since, $5 until, $6 principal; $7 and $8: after this row; $9 limit;
-- $10 an object that the attributes contain
select
  w.workflow_uuid, w.status, w.name, w.authenticated_user, w.queue_name, w.recovery_attempts,
  w.created_at, w.updated_at, w.completed_at, w.application_name, w.executor_id
from dbos_system.workflow_status w
where ($1::text[] is null or w.status = any ($1))
  and ($2::text is null or w.name = $2)
  and ($3::text is null or w.queue_name = $3)
  and ($4::bigint is null or w.created_at >= $4)
  and ($5::bigint is null or w.created_at < $5)
  and ($6::text is null or w.authenticated_user = $6)
  and ($7::bigint is null or (w.created_at, w.workflow_uuid) < ($7, $8::text))
  and ($10::text is null or w.attributes @> $10::text::jsonb)
order by w.created_at desc, w.workflow_uuid desc
limit $9
