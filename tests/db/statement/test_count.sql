-- name: test_count
-- params: none
-- rows: one
select count(*) from test.word
