-- name: test_echo_texts
-- params: text[] values
-- rows: one
select $1::text[], array_length($1::text[], 1), to_json($1::text[])::text
