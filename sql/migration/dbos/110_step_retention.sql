-- SPDX-License-Identifier: MIT
alter table dbos_system.operation_outputs
  add column if not exists retention_timestamp bigint not null
    default (extract(epoch from now()) * 1000.0)::bigint;

update dbos_system.dbos_migrations
   set version = 110;
