-- name: workflow_recover
-- params: text[]
-- rows: one
select openclaw.workflow_recover($1)
