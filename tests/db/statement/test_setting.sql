-- name: test_setting
-- params: text name
-- rows: one
select current_setting($1)
