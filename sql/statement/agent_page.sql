-- name: agent_page
-- params: text agent, text after, int4 limit
-- rows: any
-- effect: none
-- $1 null: all, by their ids, those behind $2
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
  a.allow_from, a.version, a.updated_at, a.persona, a.user_id, a.session_key, a.inbox_limit,
  a.heartbeat::text, (a.configuration - 'dbos')::text, openclaw.agent_pause_document(a.paused)::text,
  (
    select s.delay_until_epoch_ms
    from dbos_system.workflow_status s
    where s.workflow_uuid = a.heartbeat_workflow
      and s.status = 'DELAYED'
  )
from openclaw.agent a
join openclaw.principal p on p.principal_id = a.agent_id
where ($1 is null or a.agent_id = $1)
  and ($2 is null or a.agent_id > $2)
order by a.agent_id
limit $3
