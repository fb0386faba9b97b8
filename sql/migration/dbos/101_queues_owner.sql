-- SPDX-License-Identifier: MIT
alter table dbos_system.queues
  add column if not exists application_name text;

update dbos_system.dbos_migrations
   set version = 101;
