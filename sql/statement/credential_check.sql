-- name: credential_check
-- params: text
-- rows: optional
select principal_id, kind, scopes, credential_id, lives_ms, valid, use_is_news
from openclaw.credential_check($1)
