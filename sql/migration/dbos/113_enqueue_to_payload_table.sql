-- SPDX-License-Identifier: MIT
-- The inputs go to workflow_input.
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

update dbos_system.dbos_migrations
   set version = 113;
