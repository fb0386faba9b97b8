-- name: test_insert_sleep
-- params: int8 id, float8 seconds
-- rows: none
insert into test.word (id, word)
select $1, pg_sleep($2)::text
