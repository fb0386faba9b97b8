-- name: audit_add
-- params: text principal, text act, text subject, text detail
-- rows: none
-- in the transaction of the act itself; detail is JSON and holds no secret
insert into openclaw.audit (principal_id, act, subject, detail)
values ($1, $2, $3, $4::text::jsonb)
