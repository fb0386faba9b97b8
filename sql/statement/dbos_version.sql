-- name: dbos_version
-- params: none
-- rows: one
-- effect: none
select max(version)
from dbos_system.dbos_migrations
