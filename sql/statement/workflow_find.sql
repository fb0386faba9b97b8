-- name: workflow_find
-- params: text first, text second, text principal
-- rows: optional
-- effect: none
-- the first of two ids under which the principal has a workflow; null: anybody's
select w.workflow_uuid
from dbos_system.workflow_status w
where w.workflow_uuid in ($1, $2)
  and ($3 is null or w.authenticated_user = $3)
order by w.workflow_uuid = $1 desc
limit 1
