-- name: inbox_stats
-- params: text
-- rows: one
select
  count(*) filter (where state = 'ready'),
  count(*) filter (where state = 'leased'),
  count(*) filter (where state in ('ready', 'leased') and claims > 1),
  openclaw.now_ms() - min(accepted_at) filter (where state in ('ready', 'leased')),
  (
    select count(*)
    from openclaw.inbox d
    where d.agent_id = $1
      and d.state = 'dead'
  )
from openclaw.inbox
where agent_id = $1
  and state in ('ready', 'leased')
