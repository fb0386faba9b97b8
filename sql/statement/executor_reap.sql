-- name: executor_reap
-- params: text[]
-- rows: one
select executors, workflows, deliveries, bells
from openclaw.executor_reap($1)
