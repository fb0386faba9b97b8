-- name: agent_show
-- params: text agent
-- rows: optional
-- effect: none
select
  a.agent_id, a.name, a.status, a.persona, a.model, p.scopes, a.allow_from,
  a.configuration #>> '{dbos,queue}', a.configuration #>> '{dbos,workflow}',
  a.configuration #>> '{dbos,application}',
  (
    select count(*)
    from openclaw.subscription s
    where s.agent_id = a.agent_id
      and s.epoch > 0
  ),
  (
    select count(*)
    from openclaw.credential c
    where c.principal_id = a.agent_id
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > openclaw.now_ms())
  ),
  (
    select count(*)
    from openclaw.inbox i
    where i.agent_id = a.agent_id
      and i.state = 'ready'
  ),
  (
    select count(*)
    from openclaw.inbox i
    where i.agent_id = a.agent_id
      and i.state = 'leased'
  ),
  (
    select count(*)
    from openclaw.inbox i
    where i.agent_id = a.agent_id
      and i.state = 'dead'
  ),
  a.inbox_limit, a.created_at, a.updated_at, a.user_id, a.session_key, a.heartbeat::text,
  (a.configuration - 'dbos')::text, openclaw.agent_pause_document(a.paused)::text, a.version
from openclaw.agent a
join openclaw.principal p on p.principal_id = a.agent_id
where a.agent_id = $1
