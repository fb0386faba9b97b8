-- name: test_raise
-- params: text state, text message
-- rows: one
select test.raise($1, $2)
