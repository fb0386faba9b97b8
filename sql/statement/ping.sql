-- name: ping
-- params: none
-- rows: one
-- effect: none
-- Does the database answer?
select 1
