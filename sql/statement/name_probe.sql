-- name: name_probe
-- params: text principal, text queue, text workflow
-- rows: one
-- effect: none
-- whether these names mean anything here: of somebody who is, or has acted, sent or started something; of a
-- queue that has a row or had work; of workflows that there are. A null means nothing wrong
select
  $1::text is null
    or exists (
      select
      from openclaw.principal p
      where p.principal_id = $1
    )
    or exists (
      select
      from openclaw.audit a
      where a.principal_id = $1
    )
    or exists (
      select
      from openclaw.inbox i
      where i.sender = $1
    )
    or exists (
      select
      from dbos_system.workflow_status w
      where w.authenticated_user = $1
    ),
  $2::text is null
    or exists (
      select
      from dbos_system.queues q
      where q.name = $2
    )
    or exists (
      select
      from dbos_system.workflow_status w
      where w.queue_name = $2
    ),
  $3::text is null
    or exists (
      select
      from dbos_system.workflow_status w
      where w.name = $3
    )
