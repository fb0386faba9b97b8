-- SPDX-License-Identifier: MIT
create index if not exists idx_workflow_status_in_flight_v2
  on dbos_system.workflow_status (queue_name, status, priority, created_at)
  include (application_name)
  where status in ('ENQUEUED', 'PENDING');

update dbos_system.dbos_migrations
   set version = 115;
