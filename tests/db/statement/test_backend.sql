-- name: test_backend
-- params: none
-- rows: one
select pg_backend_pid()
