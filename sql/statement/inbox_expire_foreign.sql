-- name: inbox_expire_foreign
-- params: text, bool, int4
-- rows: one
select openclaw.inbox_expire_foreign($1, $2, $3)
