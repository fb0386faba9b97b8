-- name: test_missing_function
-- params: none
-- rows: one
select test.no_such_function()
