-- name: inbox_subscribe_audited
-- params: text agent, text executor, text consumer, bool exclusive, int4, int8, int8 call, text by
-- rows: one
-- as inbox_subscribe, for somebody else than the agent: who took the inbox over is on record
with subscribed as materialized (
  select s.*
  from openclaw.inbox_subscribe($1, $2, $3, $4, $5, $6, $7) s
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $8, 'inbox.subscribe', $1,
    jsonb_build_object('session', $2, 'exclusive', $4, 'epoch', s.epoch, 'fenced', cardinality(s.bells))
  from subscribed s
)
select epoch, pending, in_flight, bells
from subscribed
