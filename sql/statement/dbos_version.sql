-- name: dbos_version
-- params: none
-- rows: one
select max(version)
from dbos_system.dbos_migrations
