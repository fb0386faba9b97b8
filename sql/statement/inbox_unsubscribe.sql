-- name: inbox_unsubscribe
-- params: text, text
-- rows: one
-- whether there was a subscription
with gone as (
  delete from openclaw.subscription
  where agent_id = $1
    and executor_id = $2
  returning agent_id
)
select openclaw.inbox_release($1, array[$2]), exists (select from gone)
