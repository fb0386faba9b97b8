-- name: version_register
-- params: text, text
-- rows: none
-- so that version-less enqueues of DBOS clients reach this application
insert into dbos_system.application_versions (version_id, version_name, application_name)
values ($1 || ':' || $2, $2, $1)
on conflict do nothing
