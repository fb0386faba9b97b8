-- name: inbox_claim_audited
-- params: text, text, int8, int4, int4, int8, text token, int8, text by
-- rows: any
-- as inbox_claim, for somebody else than the agent: what was taken is on record. A claim that is sent
-- again with its token gives what it gave, and is one act
with claimed as materialized (
  select c.*
  from openclaw.inbox_claim($1, $2, $3, $4, $5, $6, $7, $8) with ordinality as c
),
noted as (
  insert into openclaw.audit (principal_id, act, subject, detail)
  select
    $9, 'inbox.claim', $1,
    jsonb_strip_nulls(jsonb_build_object(
      'messages', jsonb_agg(c.message_id order by c.ordinality),
      'request', $7
    ))
  from claimed c
  where c.inbox_seq is not null
    and not exists (
      select
      from openclaw.audit a
      where a.detail ? 'request'
        and a.detail ->> 'request' = $7
    )
  having count(*) > 0
)
select
  next_due_ms, inbox_seq, delivery_id, message_id, message_uuid, sender, workflow_uuid, serialization,
  message, attempt, max_attempts, redelivered, expects_reply, accepted_at, expires_at, lease_expires_at
from claimed
order by ordinality
