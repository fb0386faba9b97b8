-- name: test_rows_any
-- params: int8 count
-- rows: any
select g, g::text from generate_series(1, $1) g
