-- name: credential_list
-- params: text principal
-- rows: any
-- effect: none
-- those that have not ended, the newest first
select
  c.credential_id, c.principal_id, c.created_at, c.expires_at, openclaw.scopes_of(p.scopes, c.scopes),
  c.last_used_at
from openclaw.credential c
join openclaw.principal p using (principal_id)
where c.principal_id = $1
  and c.revoked_at is null
  and (c.expires_at is null or c.expires_at > openclaw.now_ms())
order by c.created_at desc, c.credential_id
limit 1000
