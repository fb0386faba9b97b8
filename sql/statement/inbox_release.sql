-- name: inbox_release
-- params: text, text[]
-- rows: one
-- gives back what a receiver may hold without knowing it: a claim whose answer was lost
select openclaw.inbox_release($1, $2)
