-- name: agent_bridge
-- params: text agent, text queue, text workflow, text application
-- rows: one
-- from now on the agent's messages are workflows of a DBOS application; queue null: not any more
select b.agent_id
from openclaw.agent_bridge($1, $2, $3, $4) as b (agent_id)
where b.agent_id is not null
