-- name: principal_scopes
-- params: text, text[]
-- rows: one
update openclaw.principal
set scopes = $2
where principal_id = $1
returning principal_id
