-- name: inbox_resume
-- params: text, text, int8, text[], int8 call
-- rows: one
select openclaw.inbox_resume($1, $2, $3, $4, $5)
