-- name: workflow_give_back
-- params: text, text[], int8, int8
-- rows: one
select openclaw.workflow_give_back($1, $2, $3, $4)
