-- name: inbox_extend_audited
-- params: text agent, int8[], text[], int8 lease_ms, text by
-- rows: any
-- as inbox_extend, for somebody else than the agent: what was extended is on record
with extended as materialized (
  select e.*
  from openclaw.inbox_extend($1, $2, $3, $4) e
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $5, 'inbox.extend', $1,
    jsonb_build_object(
      'messages', jsonb_agg(openclaw.message_id(i.sender, i.message_uuid) order by i.inbox_seq),
      'leaseMs', $4
    )
  from extended e
  join openclaw.inbox i on i.inbox_seq = split_part(e.delivery_id, '.', 1)::bigint
  having count(*) > 0
)
select delivery_id, lease_expires_at, bell
from extended
