-- name: setting_set
-- params: text, text
-- rows: none
-- locks nothing where there is nothing to change: all sweepers say the same at every start
insert into openclaw.setting (name, value)
select $1, $2
where not exists (
  select
  from openclaw.setting s
  where s.name = $1
    and s.value = $2
)
on conflict (name) do update
set value = excluded.value
