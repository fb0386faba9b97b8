-- name: workflow_adopt
-- params: text, text[], int4
-- rows: one
select openclaw.workflow_adopt($1, $2, $3)
