-- name: inbox_ready
-- params: text[]
-- rows: any
-- which of these agents have something that a claim may give out
select a.agent_id
from openclaw.agent a
where a.agent_id = any ($1)
  and a.status = 'active'
  and exists (
    select
    from openclaw.inbox i
    where i.agent_id = a.agent_id
      and i.state = 'ready'
      and i.due_at <= openclaw.now_ms()
      and i.expires_at > openclaw.now_ms()
  )
