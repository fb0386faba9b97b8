-- name: inbox_count
-- params: 
-- rows: one
select openclaw.inbox_count()
