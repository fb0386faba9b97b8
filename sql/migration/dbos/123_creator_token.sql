-- SPDX-License-Identifier: MIT
alter table dbos_system.workflow_status
  add column if not exists creator_xid text;

update dbos_system.dbos_migrations
   set version = 123;
