-- name: credential_add
-- params: text, text, int8
-- rows: one
insert into openclaw.credential (token_sha256, principal_id, expires_at)
values ($1, $2, openclaw.now_ms() + $3::bigint)
returning credential_id
