-- name: credential_check
-- params: text
-- rows: optional
select p.principal_id, p.kind, p.scopes, c.credential_id, c.expires_at
from openclaw.credential c
join openclaw.principal p using (principal_id)
where c.token_sha256 = $1
  and c.revoked_at is null
  and (c.expires_at is null or c.expires_at > openclaw.now_ms())
