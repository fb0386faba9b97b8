-- name: credential_used
-- params: text credential
-- rows: one
select openclaw.credential_used($1)
