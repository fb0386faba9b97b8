-- name: doctor_schedules
-- params: text app, text[] workflows
-- rows: any
-- effect: none
-- For gatewayctl doctor: the active schedules, and why one is not fired.
--   0 name   text
--   1 fault  text  null: none
select
  s.schedule_name,
  case
    when s.workflow_name = any ($2) then o.fault
    else pg_catalog.format('this version has no workflow %s', s.workflow_name)
  end as fault
from dbos_system.workflow_schedules s
left join openclaw.schedule o on o.schedule_name = s.schedule_name
where s.status = 'ACTIVE'
  and s.application_name = $1
order by fault is null, s.schedule_name
