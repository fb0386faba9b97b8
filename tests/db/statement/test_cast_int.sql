-- name: test_cast_int
-- params: text value
-- rows: one
select $1::text::int8
