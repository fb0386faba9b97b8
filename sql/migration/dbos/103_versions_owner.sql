-- SPDX-License-Identifier: MIT
alter table dbos_system.application_versions
  add column if not exists application_name text;

update dbos_system.dbos_migrations
   set version = 103;
