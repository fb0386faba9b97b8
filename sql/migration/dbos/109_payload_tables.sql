-- SPDX-License-Identifier: MIT
create table if not exists dbos_system.workflow_input (
  workflow_uuid text not null,
  inputs text,
  retention_timestamp bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  constraint workflow_input_pkey primary key (workflow_uuid)
);

create index if not exists idx_workflow_input_retention
  on dbos_system.workflow_input (retention_timestamp);

create table if not exists dbos_system.workflow_output (
  workflow_uuid text not null,
  output text,
  error text,
  retention_timestamp bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  constraint workflow_output_pkey primary key (workflow_uuid)
);

create index if not exists idx_workflow_output_retention
  on dbos_system.workflow_output (retention_timestamp);

update dbos_system.dbos_migrations
   set version = 109;
