-- name: inbox_ack_audited
-- params: text, bool, text[] agents, int8[], text[], text[], text by
-- rows: any
-- as inbox_ack, for somebody else than the agent: what was settled is on record
with told as materialized (
  select t.*
  from openclaw.inbox_ack($1, $2, $3, $4, $5, $6) as t
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $7, 'inbox.ack', i.agent_id,
    jsonb_build_object('messages', jsonb_agg(openclaw.message_id(i.sender, i.message_uuid) order by t.ord))
  from told t
  join openclaw.inbox i on i.inbox_seq = split_part(t.delivery_id, '.', 1)::bigint
  where t.outcome = 'acked'
  group by i.agent_id
)
select ord, delivery_id, outcome, bell
from told
order by ord
