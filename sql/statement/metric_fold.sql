-- name: metric_fold
-- params: text app, int8 slack_ms, int8 pause_ms, int4 limit
-- rows: one
select openclaw.metric_fold($1, $2, $3, $4)
