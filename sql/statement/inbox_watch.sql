-- name: inbox_watch
-- params: text, text[], text[]
-- rows: any
-- an executor that has requests waiting for these inboxes, and none any more for those: it is rung as a
-- subscriber is, but takes nothing and fences nobody (epoch 0). Gives those that it is rung for.
with left_alone as (
  delete from openclaw.subscription s
  where s.executor_id = $1
    and s.agent_id = any ($3)
    and s.epoch = 0
),
wanted as (
  select a.agent_id
  from openclaw.agent a
  where a.agent_id = any ($2)
    and exists (select from openclaw.executor x where x.executor_id = $1 and x.ended_at is null)
  order by a.agent_id
),
watched as (
  insert into openclaw.subscription (
    agent_id, executor_id, consumer, epoch, exclusive, max_in_flight, lease_ms
  )
  select w.agent_id, $1, 'pull', 0, false, 0, 0
  from wanted w
  on conflict (agent_id, executor_id) do nothing
)
select w.agent_id
from wanted w
