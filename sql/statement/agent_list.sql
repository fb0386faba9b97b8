-- name: agent_list
-- params: text
-- rows: any
-- $1 null: all
select
  a.agent_id, a.name, a.status, a.model, a.created_at, p.scopes,
  (
    select count(*)
    from openclaw.credential c
    where c.principal_id = a.agent_id
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > openclaw.now_ms())
  ),
  exists (
    select
    from openclaw.subscription s
    where s.agent_id = a.agent_id
      and s.epoch > 0
  ),
  a.allow_from
from openclaw.agent a
join openclaw.principal p on p.principal_id = a.agent_id
where $1::text is null or a.agent_id = $1
order by a.agent_id
