-- name: executor_register
-- params: text, text, text, int4, int8, text, text
-- rows: one
select openclaw.executor_register($1, $2, $3, $4, $5, $6, $7)
