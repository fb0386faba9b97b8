-- name: heartbeat_mend
-- params: int4 limit
-- rows: one
select openclaw.heartbeat_mend($1)
