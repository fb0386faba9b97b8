-- SPDX-License-Identifier: MIT
alter table dbos_system.workflow_schedules
  add column if not exists application_name text;

update dbos_system.dbos_migrations
   set version = 102;
