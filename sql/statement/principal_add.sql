-- name: principal_add
-- params: text, text, text[]
-- rows: optional
insert into openclaw.principal (principal_id, kind, scopes)
values ($1, $2, $3)
on conflict do nothing
returning principal_id
