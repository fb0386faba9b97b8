-- name: metrics
-- params: int4 agents
-- rows: any
-- effect: none
select name, labels, value
from openclaw.metrics($1)
