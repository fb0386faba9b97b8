-- name: test_insert_deferred
-- params: int8 id
-- rows: none
insert into test.deferred (id)
values ($1)
