-- name: inbox_resume
-- params: text, text, int8, text[]
-- rows: one
select openclaw.inbox_resume($1, $2, $3, $4)
