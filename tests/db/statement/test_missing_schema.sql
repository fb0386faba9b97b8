-- name: test_missing_schema
-- params: none
-- rows: any
select * from no_such_schema.t
