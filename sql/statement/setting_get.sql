-- name: setting_get
-- params: text
-- rows: optional
select value
from openclaw.setting
where name = $1
