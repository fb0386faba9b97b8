-- name: inbox_unsubscribe
-- params: text, text
-- rows: one
with gone as (
  delete from openclaw.subscription
  where agent_id = $1
    and executor_id = $2
)
select openclaw.inbox_release($1, array[$2])
