-- name: ticket_add
-- params: text credential, text ticket_sha256, text[] scopes, int8 lives_ms, int4 max
-- rows: one
select openclaw.ticket_add($1, $2, $3, $4, $5)
