-- name: principal_get
-- params: text
-- rows: optional
-- tokens: those that are valid now
select
  p.kind, p.scopes, p.created_at,
  (
    select count(*)
    from openclaw.credential c
    where c.principal_id = p.principal_id
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > openclaw.now_ms())
  ) as tokens
from openclaw.principal p
where p.principal_id = $1
