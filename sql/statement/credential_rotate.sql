-- name: credential_rotate
-- params: text by, text principal, text replaced, text token_sha256, int8 lives_ms, int8 overlap_ms, text[] scopes
-- rows: one
-- replaced null: all of the principal; overlap null: the older ones stay; lives null: for ever
select credential_id, expires_at, ended
from openclaw.credential_rotate($1, $2, $3, $4, $5, $6, $7)
