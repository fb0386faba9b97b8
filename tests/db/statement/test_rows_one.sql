-- name: test_rows_one
-- params: int8 count
-- rows: one
select g::text from generate_series(1, $1) g
