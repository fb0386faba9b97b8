-- name: prune_audited
-- params: text app, int8 retention_ms, int4 limit, text by
-- rows: one
-- as prune, by hand: what is gone is on record
with pruned as materialized (
  select p.*
  from openclaw.prune($1, $2, $3) p
),
noted as (
  insert into openclaw.audit (principal_id, act, detail)
  select
    $4, 'prune',
    jsonb_build_object(
      'olderThanMs', $2,
      'messages', p.messages,
      'workflows', p.workflows,
      'orphans', p.orphans,
      'executors', p.executors
    )
  from pruned p
  where p.messages + p.workflows + p.orphans + p.executors > 0
)
select messages, workflows, orphans, executors, busy
from pruned
