-- name: inbox_unsubscribe
-- params: text, text, int8
-- rows: one
select openclaw.inbox_unsubscribe($1, $2, $3)
