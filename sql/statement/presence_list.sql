-- name: presence_list
-- params: int8 suspect, int4 limit, text watcher, text viewer, bool sends
-- rows: any
-- connections, the living first; one is suspect when its last sign of life is older than $1. $3 wants
-- to hear of changes from now on; null: nobody does. $4 null: all are seen; else its own, and the agents
-- that it may write to, where it may write ($5), without what is said of their machines
with watching as (
  update openclaw.executor
  set watches_presence = true
  where executor_id = $3
    and not watches_presence
)
select
  x.executor_id, x.principal_id,
  case when $4::text is null then x.host end,
  case when $4::text is null or x.principal_id = $4 then x.client::text end,
  x.started_at, x.seen_at,
  case
    when x.ended_at is not null then 'offline'
    when x.seen_at < openclaw.now_ms() - $1 then 'suspect'
    else 'online'
  end
from openclaw.executor x
where x.kind = 'session'
  and x.principal_id is not null
  and (x.ended_at is null or x.ended_at > openclaw.now_ms() - 300000)
  and (
    $4::text is null
    or x.principal_id = $4
    or $5 and exists (
      select
      from openclaw.agent a
      where a.agent_id = x.principal_id
        and (a.allow_from is null or $4 = any (a.allow_from))
    )
  )
order by x.ended_at nulls first, x.started_at desc
limit $2
