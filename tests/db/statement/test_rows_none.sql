-- name: test_rows_none
-- params: int8 count
-- rows: none
select g from generate_series(1, $1) g
