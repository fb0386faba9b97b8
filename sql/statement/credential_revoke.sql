-- name: credential_revoke
-- params: text, int8
-- rows: any
-- ends a principal's credentials after $2 milliseconds (0: now), so that a rotation can overlap
update openclaw.credential
set revoked_at = case when $2 = 0 then openclaw.now_ms() else revoked_at end,
  expires_at = case when $2 = 0 then expires_at else least(coalesce(expires_at, 9223372036854775807), openclaw.now_ms() + $2) end
where principal_id = $1
  and revoked_at is null
returning credential_id
