-- name: inbox_nack_audited
-- params: text, bool, text agent, int8 seq, text, int8, bool, text reason, int8, int8, text by
-- rows: optional
-- as inbox_nack, for somebody else than the agent: what was refused is on record
with refused as materialized (
  select r.*
  from openclaw.inbox_nack($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) r
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $11, 'inbox.nack', $3,
    jsonb_strip_nulls(jsonb_build_object(
      'messages', jsonb_build_array(openclaw.message_id(i.sender, i.message_uuid)),
      'state', r.state,
      'reason', $8
    ))
  from refused r
  join openclaw.inbox i on i.inbox_seq = $4
)
select state, attempt, due_at, due_in_ms, bell
from refused
