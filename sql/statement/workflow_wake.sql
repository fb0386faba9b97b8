-- name: workflow_wake
-- params: text, int4
-- rows: one
select openclaw.workflow_wake($1, $2)
