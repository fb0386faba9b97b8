-- name: token_list
-- params: text principal
-- rows: any
-- effect: none
-- tokens of one principal, or (null) of all, also those that have ended; of the token itself there is
-- only its digest
select
  c.credential_id, c.principal_id,
  case
    when c.revoked_at is not null then 'revoked'
    when c.expires_at <= openclaw.now_ms() then 'expired'
    else 'valid'
  end,
  openclaw.scopes_of(p.scopes, c.scopes), c.created_at, c.expires_at, c.revoked_at, c.last_used_at
from openclaw.credential c
join openclaw.principal p on p.principal_id = c.principal_id
where $1::text is null or c.principal_id = $1
order by c.principal_id, c.created_at desc
limit 10000
