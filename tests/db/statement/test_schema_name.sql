-- name: test_schema_name
-- params: none
-- rows: one
select 'dbos_system', 'dbos_system_x', 'xdbos_system', 'dbos_system.t'
