-- SPDX-License-Identifier: MIT
-- TypeScript called it one way, Python and Go the other.
alter table dbos_system.operation_outputs
  drop constraint if exists operation_outputs_workflow_uuid_foreign,
  drop constraint if exists operation_outputs_workflow_uuid_fkey;

update dbos_system.dbos_migrations
   set version = 112;
