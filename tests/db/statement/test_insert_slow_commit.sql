-- name: test_insert_slow_commit
-- params: int8 id
-- rows: none
insert into test.slow_commit (id)
values ($1)
