-- name: doctor_index
-- params: none
-- rows: one
-- effect: none
-- For gatewayctl doctor: the partial indexes without which the sweeper and receivers read whole tables.
--   0 missing  text[]  those that are not there, or not partial
--   1 invalid  text[]  those whose building was interrupted
with wanted (name) as (
  values
    ('openclaw.inbox_ready'), ('openclaw.inbox_leased'), ('openclaw.inbox_foreign'),
    ('openclaw.inbox_settled'), ('openclaw.inbox_dead'), ('openclaw.inbox_dead_message'),
    ('openclaw.executor_live'), ('openclaw.executor_ended'), ('openclaw.executor_watching'),
    ('openclaw.executor_connected'),
    ('openclaw.agent_dbos'),
    ('dbos_system.idx_workflow_status_pending'), ('dbos_system.idx_workflow_status_delayed'),
    ('dbos_system.idx_workflow_status_deadline'), ('dbos_system.idx_workflow_status_in_flight_v2'),
    ('dbos_system.idx_workflow_status_completed_at'), ('dbos_system.uq_workflow_status_dedup_id')
),
found as (
  select w.name, i.indisvalid
  from wanted w
  left join pg_catalog.pg_index i
    on i.indexrelid = pg_catalog.to_regclass(w.name)
    and i.indpred is not null
)
select
  coalesce(pg_catalog.array_agg(f.name order by f.name) filter (where f.indisvalid is null), '{}'),
  coalesce(pg_catalog.array_agg(f.name order by f.name) filter (where not f.indisvalid), '{}')
from found f
