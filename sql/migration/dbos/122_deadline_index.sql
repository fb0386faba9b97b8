-- SPDX-License-Identifier: MIT
create index if not exists idx_workflow_status_deadline
  on dbos_system.workflow_status (workflow_deadline_epoch_ms)
  where status in ('ENQUEUED', 'PENDING', 'DELAYED')
    and workflow_deadline_epoch_ms is not null;

update dbos_system.dbos_migrations
   set version = 122;
