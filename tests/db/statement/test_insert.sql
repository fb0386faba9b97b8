-- name: test_insert
-- params: int8 id, text word
-- rows: none
insert into test.word (id, word)
values ($1, $2)
