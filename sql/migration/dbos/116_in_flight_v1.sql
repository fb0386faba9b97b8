-- SPDX-License-Identifier: MIT
drop index if exists dbos_system.idx_workflow_status_in_flight;

update dbos_system.dbos_migrations
   set version = 116;
