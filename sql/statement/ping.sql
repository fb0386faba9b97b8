-- name: ping
-- params: none
-- rows: one
-- Does the database answer?
select 1
