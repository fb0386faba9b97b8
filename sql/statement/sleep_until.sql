-- name: sleep_until
-- params: int8, text
-- rows: one
-- the effect of DBOS.sleep: the absolute time of waking, left for the checkpoint of step $2
select set_config('openclaw.step_output_' || $2, (openclaw.now_ms() + $1)::text, true)
