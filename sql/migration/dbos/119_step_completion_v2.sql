-- SPDX-License-Identifier: MIT
create index if not exists idx_operation_outputs_completed_at_function_name_v2
  on dbos_system.operation_outputs (completed_at_epoch_ms, function_name)
  include (application_name);

update dbos_system.dbos_migrations
   set version = 119;
