-- name: agent_bells
-- params: text agent
-- rows: any
-- effect: none
-- who receives an agent's messages
select x.host || '/' || x.executor_id
from openclaw.subscription s
join openclaw.executor x on x.executor_id = s.executor_id
where s.agent_id = $1
