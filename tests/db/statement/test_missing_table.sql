-- name: test_missing_table
-- params: none
-- rows: any
select * from test.no_such_table
