-- name: test_echo
-- params: text a, int8 b, bool c, text d
-- rows: one
select $1, $2, $3, $4, octet_length($1)
