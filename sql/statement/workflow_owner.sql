-- name: workflow_owner
-- params: text
-- rows: optional
-- effect: none
select w.authenticated_user
from dbos_system.workflow_status w
where w.workflow_uuid = $1
