-- name: test_sleep_read
-- params: float8 seconds
-- rows: one
-- effect: none
select pg_sleep($1)
