-- name: credential_end
-- params: text by, text principal, text credential
-- rows: any
-- principal null: anybody's; credential null: all of the principal
select credential_id
from openclaw.credential_revoke($1, $2, $3)
