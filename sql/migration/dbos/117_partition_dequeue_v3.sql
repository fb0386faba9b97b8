-- SPDX-License-Identifier: MIT
create index if not exists idx_workflow_status_partition_dequeue_v3
  on dbos_system.workflow_status
    (queue_name, status, queue_partition_key, priority, created_at, workflow_uuid)
  include (application_name)
  where status in ('ENQUEUED', 'PENDING')
    and queue_partition_key is not null;

update dbos_system.dbos_migrations
   set version = 117;
