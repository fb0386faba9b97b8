-- name: workflow_event_page
-- params: text, int8 after, text after_key, int4 limit
-- rows: any
-- effect: none
select h.function_id, h.key, h.value, h.serialization
from dbos_system.workflow_events_history h
where h.workflow_uuid = $1
  and ($2 is null or (h.function_id, h.key) > ($2, $3))
order by h.function_id, h.key
limit $4
