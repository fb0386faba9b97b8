-- name: test_echo_ints
-- params: int8[] values, bool[] flags
-- rows: one
select $1::text[], $2::text[]
