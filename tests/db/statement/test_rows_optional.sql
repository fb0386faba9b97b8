-- name: test_rows_optional
-- params: int8 count
-- rows: optional
select g::text from generate_series(1, $1) g
