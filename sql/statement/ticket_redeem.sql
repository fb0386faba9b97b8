-- name: ticket_redeem
-- params: text ticket_sha256, text executor
-- rows: optional
select principal_id, kind, scopes, credential_id, expires_at - openclaw.now_ms(), true, false
from openclaw.ticket_redeem($1, $2)
