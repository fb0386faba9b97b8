-- SPDX-License-Identifier: MIT
alter table dbos_system.queues
  add column if not exists partition_concurrency int,
  add column if not exists partition_worker_concurrency int,
  add column if not exists partition_rate_limit_max int,
  add column if not exists partition_rate_limit_period_sec double precision;

update dbos_system.dbos_migrations
   set version = 108;
