-- name: credential_recheck
-- params: text credential
-- rows: optional
-- of a session that is open: may it go on?
select
  p.principal_id, p.kind, openclaw.scopes_of(p.scopes, c.scopes), c.credential_id, c.expires_at,
  c.revoked_at is null and (c.expires_at is null or c.expires_at > openclaw.now_ms())
from openclaw.credential c
join openclaw.principal p using (principal_id)
where c.credential_id = $1
