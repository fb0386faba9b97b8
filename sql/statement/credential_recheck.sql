-- name: credential_recheck
-- params: text credential
-- rows: optional
-- of a session that is open: may it go on?
select
  p.principal_id, p.kind, openclaw.scopes_of(p.scopes, c.scopes), c.credential_id,
  c.expires_at - openclaw.now_ms(),
  c.revoked_at is null and (c.expires_at is null or c.expires_at > openclaw.now_ms()),
  openclaw.use_is_news(c.last_used_at)
from openclaw.credential c
join openclaw.principal p using (principal_id)
where c.credential_id = $1
