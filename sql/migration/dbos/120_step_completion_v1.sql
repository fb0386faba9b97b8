-- SPDX-License-Identifier: MIT
drop index if exists dbos_system.idx_operation_outputs_completed_at_function_name;

update dbos_system.dbos_migrations
   set version = 120;
