-- name: audit_list
-- params: text principal, text act, text subject, int8 since, int8 until, int8 before, int8 limit
-- rows: any
-- effect: none
-- the newest first; what is null does not matter; before is the last audit_id of the page before
select audit_id, at, principal_id, act, subject, detail
from openclaw.audit
where ($1::text is null or principal_id = $1)
  and ($2::text is null or act = $2 or starts_with(act, $2 || '.'))
  and ($3::text is null or subject = $3)
  and ($4::bigint is null or at >= $4)
  and ($5::bigint is null or at < $5)
  and ($6::bigint is null or audit_id < $6)
order by audit_id desc
limit $7
