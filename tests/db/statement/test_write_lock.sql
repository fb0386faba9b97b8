-- name: test_write_lock
-- params: int8 id
-- rows: any
select word from test.word where id = $1 for update nowait
