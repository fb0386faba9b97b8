-- name: agent_set
-- params: text by, text agent, bool sets_name, text name, bool sets_allow, text[] allow, text status
-- rows: optional
-- what is not set stays; allow null: everybody with the scope may write to it. The bells are of those
-- who receive its messages, and may have to begin again
with changed as (
  update openclaw.agent
  set name = case when $3 then $4 else name end,
    allow_from = case when $5 then $6 else allow_from end,
    status = coalesce($7, status),
    version = version + 1,
    updated_at = openclaw.now_ms()
  where agent_id = $2
  returning agent_id, allow_from, status
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select $1, 'agent.set', c.agent_id, jsonb_build_object('allowFrom', c.allow_from, 'status', c.status)
  from changed c
)
select
  c.agent_id,
  array(
    select x.host || '/' || x.executor_id
    from openclaw.subscription s
    join openclaw.executor x on x.executor_id = s.executor_id
    where s.agent_id = c.agent_id
      and $7 = 'active'
  )
from changed c
