-- name: migrate
-- params: text lock_timeout, text dbos, text[] upgrade_names, text[] upgrades, text[] names, text[] scripts, text[] functions, text digest, text[] setting_names, text[] setting_values, text role
-- rows: any
select did, what
from openclaw.migrate($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
