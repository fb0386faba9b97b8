-- name: workflow_expire
-- params: text, int4
-- rows: one
select openclaw.workflow_expire($1, $2)
