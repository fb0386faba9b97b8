-- name: principal_list
-- params:
-- rows: any
-- effect: none
select
  p.principal_id, p.kind, p.scopes,
  count(c.credential_id) filter (
    where c.revoked_at is null
      and (c.expires_at is null or c.expires_at > openclaw.now_ms())
  ),
  p.created_at, max(c.last_used_at)
from openclaw.principal p
left join openclaw.credential c on c.principal_id = p.principal_id
group by p.principal_id
order by p.principal_id
