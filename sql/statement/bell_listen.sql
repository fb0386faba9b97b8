-- name: bell_listen
-- params: text host
-- rows: one
select openclaw.bell_listen($1)
