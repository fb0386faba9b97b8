-- name: inbox_list
-- params: text agent
-- rows: any
-- effect: none
-- how full inboxes are; of one agent, or (null) of all
select
  a.agent_id, a.status,
  (
    select count(*)
    from openclaw.subscription s
    where s.agent_id = a.agent_id
      and s.epoch > 0
  ),
  r.ready, l.leased, r.retried + l.retried, coalesce(d.dead, 0),
  n.now - least(r.oldest, l.oldest), a.inbox_limit
from openclaw.agent a
cross join openclaw.now_ms() as n (now)
cross join lateral (
  select
    count(*) as ready,
    count(*) filter (where i.claims > 0) as retried,
    min(openclaw.waits_since(i.attempt, i.accepted_at, i.due_at, n.now)) as oldest
  from openclaw.inbox i
  where i.agent_id = a.agent_id
    and i.state = 'ready'
) r
cross join lateral (
  select
    count(*) as leased,
    count(*) filter (where i.claims > 1) as retried,
    min(i.accepted_at) as oldest
  from openclaw.inbox i
  where i.agent_id = a.agent_id
    and i.state = 'leased'
) l
left join (
  select i.agent_id, count(*) as dead
  from openclaw.inbox i
  where i.state = 'dead'
  group by i.agent_id
) d on d.agent_id = a.agent_id
where $1::text is null or a.agent_id = $1
order by a.agent_id
