-- name: setting_get
-- params: text
-- rows: optional
-- effect: none
select value
from openclaw.setting
where name = $1
