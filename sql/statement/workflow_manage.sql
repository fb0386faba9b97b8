-- name: workflow_manage
-- params: text principal, text verb, text, int4 step, text new_id, text version, text queue, bool children, text app, text by, jsonb attributes
-- rows: one
select id, status, changed, bells
from openclaw.workflow_manage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
