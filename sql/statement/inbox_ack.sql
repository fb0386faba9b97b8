-- name: inbox_ack
-- params: text, bool, text[], int8[], text[], text[]
-- rows: any
-- merges: ==++++
select ord, delivery_id, outcome, bell
from openclaw.inbox_ack($1, $2, $3, $4, $5, $6)
