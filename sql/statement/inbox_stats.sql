-- name: inbox_stats
-- params: text
-- rows: one
select
  count(*) filter (where state = 'ready'),
  count(*) filter (where state = 'leased'),
  count(*) filter (where state in ('ready', 'leased') and claims > 1),
  max(n.now) - min(
    case state
      when 'leased' then accepted_at
      else openclaw.waits_since(attempt, accepted_at, due_at, n.now)
    end
  ),
  (
    select count(*)
    from openclaw.inbox d
    where d.agent_id = $1
      and d.state = 'dead'
  )
from openclaw.inbox
cross join openclaw.now_ms() as n (now)
where agent_id = $1
  and state in ('ready', 'leased')
