-- SPDX-License-Identifier: MIT
--
-- The DBOS system schema at version 123, as TypeScript 5.2 and 5.3 leave it and as every official
-- SDK accepts it. For a database that has none: gatewayctl migrate runs it in one transaction
-- (with psql: psql -1 -f). On a schema of version 123 it changes nothing; on any other it stops.
-- Older schemas take sql/migration/dbos/; what we change on purpose is in 0002.
--
-- Names, types, defaults and index definitions are a contract with the SDKs, whose later
-- migrations alter and drop them by name. tests/migration/dbos-schema.t compares the catalogs.
-- All times are epoch milliseconds. dbos_migrations holds exactly one row.

do $$
declare
  v_version bigint;
begin
  if to_regclass('dbos_system.dbos_migrations') is null then
    if to_regclass('dbos_system.workflow_status') is not null then
      raise exception 'the schema dbos_system has a workflow_status but no dbos_migrations'
        using errcode = 'OC007',
              hint = 'Set DBOS_SCHEMA to a schema of its own.';
    end if;
    return;
  end if;
  select max(m.version)
    into v_version
    from dbos_system.dbos_migrations m;
  if v_version is distinct from 123 then
    raise exception 'the schema dbos_system is a DBOS schema of version %, not 123', v_version
      using errcode = 'OC007',
            hint = 'gatewayctl migrate upgrades version 100 and later.';
  end if;
end
$$;

create schema if not exists dbos_system;

create table if not exists dbos_system.dbos_migrations (
  version bigint not null,
  constraint dbos_migrations_pkey primary key (version)
);

-- Workflows ---------------------------------------------------------------------------------------

-- output, error and inputs are where SDKs before 5.0 keep payloads and still read them; owner_xid
-- fences every write of an execution, creator_xid tells the insert that made the row.
create table if not exists dbos_system.workflow_status (
  workflow_uuid text not null,
  status text,
  name text,
  class_name varchar(255) default null,
  config_name varchar(255) default null,
  application_name text,
  application_version text,
  application_id text,
  executor_id text,
  owner_xid text,
  creator_xid text,
  recovery_attempts bigint default 0,
  created_at bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  updated_at bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  started_at_epoch_ms bigint,
  completed_at bigint,
  delay_until_epoch_ms bigint,
  workflow_timeout_ms bigint,
  workflow_deadline_epoch_ms bigint,
  queue_name text,
  queue_partition_key text,
  deduplication_id text,
  priority int not null default 0,
  rate_limited boolean not null default false,
  is_debounced boolean not null default false,
  debounce_deadline_epoch_ms bigint,
  was_forked_from boolean not null default false,
  forked_from text,
  parent_workflow_id text,
  schedule_name text,
  authenticated_user text,
  assumed_role text,
  authenticated_roles text,
  attributes jsonb,
  serialization text,
  request text,
  inputs text,
  output text,
  error text,
  constraint workflow_status_pkey primary key (workflow_uuid)
);

create index if not exists workflow_status_created_at_index
  on dbos_system.workflow_status (created_at);
create index if not exists idx_workflow_status_completed_at
  on dbos_system.workflow_status (completed_at)
  where completed_at is not null;
create index if not exists idx_workflow_status_started_at
  on dbos_system.workflow_status (started_at_epoch_ms)
  where started_at_epoch_ms is not null;
create index if not exists idx_workflow_status_pending
  on dbos_system.workflow_status (created_at)
  where status = 'PENDING';
create index if not exists idx_workflow_status_failed
  on dbos_system.workflow_status (status, created_at)
  where status in ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
create index if not exists idx_workflow_status_delayed
  on dbos_system.workflow_status (delay_until_epoch_ms)
  where status = 'DELAYED';
create index if not exists idx_workflow_status_deadline
  on dbos_system.workflow_status (workflow_deadline_epoch_ms)
  where status in ('ENQUEUED', 'PENDING', 'DELAYED')
    and workflow_deadline_epoch_ms is not null;
create index if not exists idx_workflow_status_in_flight_v2
  on dbos_system.workflow_status (queue_name, status, priority, created_at)
  include (application_name)
  where status in ('ENQUEUED', 'PENDING');
create index if not exists idx_workflow_status_partition_dequeue_v3
  on dbos_system.workflow_status
    (queue_name, status, queue_partition_key, priority, created_at, workflow_uuid)
  include (application_name)
  where status in ('ENQUEUED', 'PENDING')
    and queue_partition_key is not null;
create index if not exists idx_workflow_status_rate_limited
  on dbos_system.workflow_status (queue_name, started_at_epoch_ms)
  where rate_limited = true;
create unique index if not exists uq_workflow_status_dedup_id
  on dbos_system.workflow_status (queue_name, deduplication_id)
  where deduplication_id is not null;
create index if not exists idx_workflow_status_forked_from
  on dbos_system.workflow_status (forked_from)
  where forked_from is not null;
create index if not exists idx_workflow_status_parent_workflow_id
  on dbos_system.workflow_status (parent_workflow_id)
  where parent_workflow_id is not null;
create index if not exists idx_workflow_status_schedule_name
  on dbos_system.workflow_status (schedule_name)
  where schedule_name is not null;
create index if not exists idx_workflow_status_attributes
  on dbos_system.workflow_status using gin (attributes)
  where attributes is not null;

-- Payloads and steps ------------------------------------------------------------------------------
-- No foreign keys: whoever deletes a workflow deletes these, too.

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

create table if not exists dbos_system.operation_outputs (
  workflow_uuid text not null,
  function_id int not null,
  function_name text not null default '',
  output text,
  error text,
  serialization text,
  child_workflow_id text,
  started_at_epoch_ms bigint,
  completed_at_epoch_ms bigint,
  retention_timestamp bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  application_name text,
  constraint operation_outputs_pkey primary key (workflow_uuid, function_id)
);

create index if not exists idx_operation_outputs_completed_at_function_name_v2
  on dbos_system.operation_outputs (completed_at_epoch_ms, function_name)
  include (application_name);
create index if not exists idx_operation_outputs_retention
  on dbos_system.operation_outputs (retention_timestamp);

-- Messages, events, streams -----------------------------------------------------------------------

create table if not exists dbos_system.notifications (
  message_uuid text not null default gen_random_uuid(),
  destination_uuid text not null,
  topic text,
  message text not null,
  serialization text,
  created_at_epoch_ms bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  consumed boolean not null default false,
  consumed_by_function_id int,
  constraint notifications_pkey primary key (message_uuid),
  constraint notifications_destination_uuid_fkey
    foreign key (destination_uuid)
    references dbos_system.workflow_status (workflow_uuid)
    on update cascade
    on delete cascade
);

create index if not exists idx_workflow_topic
  on dbos_system.notifications (destination_uuid, topic);

create table if not exists dbos_system.workflow_events (
  workflow_uuid text not null,
  key text not null,
  value text not null,
  serialization text,
  constraint workflow_events_pkey primary key (workflow_uuid, key),
  constraint workflow_events_workflow_uuid_fkey
    foreign key (workflow_uuid)
    references dbos_system.workflow_status (workflow_uuid)
    on update cascade
    on delete cascade
);

create table if not exists dbos_system.workflow_events_history (
  workflow_uuid text not null,
  function_id int not null,
  key text not null,
  value text not null,
  serialization text,
  constraint workflow_events_history_pkey primary key (workflow_uuid, function_id, key),
  constraint workflow_events_history_workflow_uuid_fkey
    foreign key (workflow_uuid)
    references dbos_system.workflow_status (workflow_uuid)
    on update cascade
    on delete cascade
);

create table if not exists dbos_system.streams (
  workflow_uuid text not null,
  key text not null,
  "offset" int not null,
  function_id int not null default 0,
  value text not null,
  serialization text,
  constraint streams_pkey primary key (workflow_uuid, key, "offset"),
  constraint streams_workflow_uuid_fkey
    foreign key (workflow_uuid)
    references dbos_system.workflow_status (workflow_uuid)
    on update cascade
    on delete cascade
);

-- Queues, schedules, versions ---------------------------------------------------------------------

-- *_sec are seconds.
create table if not exists dbos_system.queues (
  queue_id text not null default gen_random_uuid()::text,
  name text not null,
  application_name text,
  concurrency int,
  worker_concurrency int,
  rate_limit_max int,
  rate_limit_period_sec double precision,
  partition_queue boolean not null default false,
  partition_concurrency int,
  partition_worker_concurrency int,
  partition_rate_limit_max int,
  partition_rate_limit_period_sec double precision,
  priority_enabled boolean not null default false,
  polling_interval_sec double precision not null default 1.0,
  created_at bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  updated_at bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  constraint queues_pkey primary key (queue_id),
  constraint queues_name_key unique (name)
);

-- last_fired_at is ISO 8601.
create table if not exists dbos_system.workflow_schedules (
  schedule_id text not null,
  schedule_name text not null,
  workflow_name text not null,
  workflow_class_name text,
  application_name text,
  queue_name text,
  schedule text not null,
  cron_timezone text,
  status text not null default 'ACTIVE',
  context text not null,
  last_fired_at text,
  automatic_backfill boolean not null default false,
  constraint workflow_schedules_pkey primary key (schedule_id),
  constraint workflow_schedules_schedule_name_key unique (schedule_name)
);

create table if not exists dbos_system.application_versions (
  version_id text not null,
  version_name text not null,
  application_name text,
  version_timestamp bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  created_at bigint not null default (extract(epoch from now()) * 1000.0)::bigint,
  constraint application_versions_pkey primary key (version_id),
  constraint application_versions_version_name_key unique (version_name)
);

create unique index if not exists uq_application_versions_owner_version
  on dbos_system.application_versions (application_name, version_name)
  where application_name is not null;
create unique index if not exists uq_application_versions_unclaimed_version
  on dbos_system.application_versions (version_name)
  where application_name is null;

-- State of SDK event receivers; nothing of ours touches it.
create table if not exists dbos_system.event_dispatch_kv (
  service_name text not null,
  workflow_fn_name text not null,
  key text not null,
  value text,
  update_seq numeric(38, 0),
  update_time numeric(38, 15),
  constraint event_dispatch_kv_pkey primary key (service_name, workflow_fn_name, key)
);

-- Functions ---------------------------------------------------------------------------------------
-- SDKs and SQL clients call these by the names of their arguments: those are the contract, hence
-- no p_ here.

create or replace function dbos_system.notifications_function()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify('dbos_notifications_channel', new.destination_uuid || '::' || new.topic);
  return new;
end
$$;

create or replace trigger dbos_notifications_trigger
  after insert on dbos_system.notifications
  for each row
  execute function dbos_system.notifications_function();

-- Enqueue a workflow from SQL; returns its id. An id that exists is left as it is.
create or replace function dbos_system.enqueue_workflow(
  workflow_name text,
  queue_name text,
  positional_args json[] default array[]::json[],
  named_args json default '{}'::json,
  class_name text default null,
  config_name text default null,
  workflow_id text default null,
  app_version text default null,
  timeout_ms bigint default null,
  deadline_epoch_ms bigint default null,
  deduplication_id text default null,
  priority int default null,
  queue_partition_key text default null,
  authenticated_user text default null,
  authenticated_roles text default null,
  delay_until_epoch_ms bigint default null,
  application_name text default null
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id text := coalesce(workflow_id, gen_random_uuid()::text);
  v_now bigint := (extract(epoch from now()) * 1000)::bigint;
begin
  if coalesce(workflow_name, '') = '' then
    raise exception 'enqueue_workflow: workflow_name must not be null or empty';
  elsif coalesce(queue_name, '') = '' then
    raise exception 'enqueue_workflow: queue_name must not be null or empty';
  elsif workflow_id = '' then
    raise exception 'enqueue_workflow: workflow_id must not be empty';
  elsif json_typeof(named_args) <> 'object' then
    raise exception 'enqueue_workflow: named_args must be a JSON object';
  elsif delay_until_epoch_ms < 0 then
    raise exception 'enqueue_workflow: delay_until_epoch_ms must not be negative';
  end if;

  insert into dbos_system.workflow_status (
    workflow_uuid, status, name, class_name, config_name,
    queue_name, queue_partition_key, deduplication_id, priority, delay_until_epoch_ms,
    workflow_timeout_ms, workflow_deadline_epoch_ms,
    application_name, application_version, authenticated_user, authenticated_roles,
    owner_xid, recovery_attempts, serialization, created_at, updated_at
  )
  values (
    v_id,
    case when delay_until_epoch_ms is null then 'ENQUEUED' else 'DELAYED' end,
    workflow_name, class_name, config_name,
    queue_name, queue_partition_key, deduplication_id, coalesce(priority, 0), delay_until_epoch_ms,
    timeout_ms, deadline_epoch_ms,
    application_name, app_version, authenticated_user, authenticated_roles,
    gen_random_uuid()::text, 0, 'portable_json', v_now, v_now
  )
  on conflict (workflow_uuid) do update
    set updated_at = excluded.updated_at;

  insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
  values (
    v_id,
    json_build_object('positionalArgs', positional_args, 'namedArgs', named_args)::text,
    v_now
  )
  on conflict (workflow_uuid) do nothing;

  return v_id;
exception
  when unique_violation then
    raise exception 'DBOS queue duplicated'
      using errcode = 'unique_violation',
            detail = format(
              'Queue %s already holds deduplication id %s; workflow %s was not enqueued.',
              queue_name, deduplication_id, v_id);
end
$$;

-- Send a message to a workflow from SQL; message_id makes a repeat harmless.
create or replace function dbos_system.send_message(
  destination_id text,
  message json,
  topic text default null,
  message_id text default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into dbos_system.notifications (
    message_uuid, destination_uuid, topic, message, serialization
  )
  values (
    coalesce(message_id, gen_random_uuid()::text),
    destination_id,
    coalesce(topic, '__null__topic__'),
    message,
    'portable_json'
  )
  on conflict (message_uuid) do nothing;
exception
  when foreign_key_violation then
    raise exception 'DBOS non-existent workflow'
      using errcode = 'foreign_key_violation',
            detail = format('There is no workflow %s to send to.', destination_id);
end
$$;

insert into dbos_system.dbos_migrations (version)
select 123
 where not exists (select from dbos_system.dbos_migrations);
