-- SPDX-License-Identifier: MIT
create index if not exists idx_operation_outputs_retention
  on dbos_system.operation_outputs (retention_timestamp);

update dbos_system.dbos_migrations
   set version = 111;
