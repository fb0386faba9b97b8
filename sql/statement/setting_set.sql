-- name: setting_set
-- params: text, text
-- rows: none
insert into openclaw.setting (name, value)
values ($1, $2)
on conflict (name) do update
set value = excluded.value
