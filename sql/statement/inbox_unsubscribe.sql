-- name: inbox_unsubscribe
-- params: text, text
-- rows: one
-- whether there was a subscription
with gone as (
  delete from openclaw.subscription
  where agent_id = $1
    and executor_id = $2
  returning agent_id
),
-- before what it holds is given back: until it is gone, messages are handed over to it
ended as materialized (
  select exists (select from gone) as subscribed
)
select openclaw.inbox_release($1, array[$2]), e.subscribed
from ended e
