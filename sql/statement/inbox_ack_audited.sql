-- name: inbox_ack_audited
-- params: text, bool, text agent, int8[], text[], text[], text by
-- rows: any
-- as inbox_ack, for somebody else than the agent: what was settled is on record
with told as materialized (
  select t.*
  from openclaw.inbox_ack($1, $2, $3, $4, $5, $6) with ordinality as t
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $7, 'inbox.ack', $3,
    jsonb_build_object('messages', jsonb_agg(openclaw.message_id(i.sender, i.message_uuid) order by t.ordinality))
  from told t
  join openclaw.inbox i on i.inbox_seq = split_part(t.delivery_id, '.', 1)::bigint
  where t.outcome = 'acked'
  having count(*) > 0
)
select delivery_id, outcome, bell
from told
order by ordinality
