-- name: test_terminate
-- params: int8 pid
-- rows: one
select pg_terminate_backend($1::int)
