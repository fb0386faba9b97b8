-- SPDX-License-Identifier: MIT
drop index if exists dbos_system.idx_workflow_status_partition_dequeue_v2;

update dbos_system.dbos_migrations
   set version = 118;
