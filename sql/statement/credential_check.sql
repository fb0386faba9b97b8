-- name: credential_check
-- params: text
-- rows: optional
-- a credential that has ended comes too, so that the log can say whose it was
select
  p.principal_id, p.kind, openclaw.scopes_of(p.scopes, c.scopes), c.credential_id,
  c.expires_at - openclaw.now_ms(),
  c.revoked_at is null and (c.expires_at is null or c.expires_at > openclaw.now_ms()),
  openclaw.use_is_news(c.last_used_at)
from openclaw.credential c
join openclaw.principal p using (principal_id)
where c.token_sha256 = $1
