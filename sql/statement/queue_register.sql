-- name: queue_register
-- params: text
-- rows: none
-- the queue on which other applications reach our workflows
insert into dbos_system.queues (name, application_name)
values ('openclaw', $1)
on conflict do nothing
