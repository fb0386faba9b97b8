-- name: test_sleep
-- params: float8 seconds
-- rows: one
select pg_sleep($1)
