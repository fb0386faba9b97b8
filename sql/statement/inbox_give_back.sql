-- name: inbox_give_back
-- params: text[] deliveries
-- rows: one
select openclaw.inbox_give_back($1)
