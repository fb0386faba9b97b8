-- SPDX-License-Identifier: MIT
alter table dbos_system.notifications
  add column if not exists consumed_by_function_id int;

update dbos_system.dbos_migrations
   set version = 121;
