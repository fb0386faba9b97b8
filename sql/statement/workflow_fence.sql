-- name: workflow_fence
-- params: text, text
-- rows: one
-- holds the workflow for the transaction of a transactional step, or raises OC001
select openclaw.workflow_fence($1, $2)
