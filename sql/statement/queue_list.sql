-- name: queue_list
-- params:
-- rows: any
-- effect: none
-- DBOS queues, those with a row and those with work; what waits for its time is not in a queue's count
with work as (
  select
    w.queue_name as name,
    count(*) filter (where w.status = 'ENQUEUED') as waiting,
    count(*) filter (where w.status = 'PENDING') as running,
    min(w.created_at) filter (where w.status = 'ENQUEUED') as oldest
  from dbos_system.workflow_status w
  where w.status in ('ENQUEUED', 'PENDING')
    and w.queue_name is not null
  group by w.queue_name
)
select
  coalesce(q.name, w.name), coalesce(w.waiting, 0), coalesce(w.running, 0),
  openclaw.now_ms() - w.oldest, q.application_name, q.concurrency, q.worker_concurrency,
  q.rate_limit_max, (q.rate_limit_period_sec * 1000)::bigint, coalesce(q.priority_enabled, false),
  coalesce(q.partition_queue, false)
from dbos_system.queues q
full join work w on w.name = q.name
order by 1
