-- Dead letters: what was delivered too often, or refused for good, and what becomes of it then.
-- Who sees one: an operator (p_all), its recipient (p_recipient) and its sender (p_sender).

-- Gives dead letters a fresh run: the same message, under its id and in its place in the order,
-- its attempts counted from nothing, living as long as it was to live at first. The workflow that
-- carried it has ended and stays as it ended; a fork of it (DBOS.forkWorkflow: its steps before
-- the wait are copied) carries the message from here, under the id the caller made, p_fork.
--
-- Outcomes, one row for each message asked for:
--   redriven   by this call, or by an earlier one with the same p_fork
--   live       it is no dead letter any more: it is on its way
--   full       its inbox has no room
--   unknown    there is no such dead letter, or none that the caller may see, or may send any more:
--              a sender that the recipient takes nothing from
--
-- Called twice with the same ids it does once what it does.
-- Locks: the advisory locks of inboxes and inbox_bound, as inbox_room says; workflow_status
-- in the order of ids; inbox in the order of rank; notifications; then inserts.
create or replace function openclaw.dead_letter_redrive(
  p_app text,
  p_version text,
  p_inbox_limit bigint,
  p_by text,
  p_all boolean,
  p_recipient text,
  p_sender text,
  p_message text[],
  p_fork text[]
)
returns table (
  message_uuid text,
  outcome text,
  message_id text,
  agent_id text,
  inbox_seq bigint,
  workflow_uuid text,
  expires_at bigint,
  bells text[]
)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_seq bigint[];
  v_fork text[];
  v_full bigint[] := '{}';
  v_redriven bigint[] := '{}';
begin
  select array_agg(c.inbox_seq), array_agg(c.fork)
  into v_seq, v_fork
  from (
    select distinct on (i.message_uuid) i.inbox_seq, g.fork
    from unnest(p_message, p_fork) as g (message, fork)
    join openclaw.inbox i
      on i.message_uuid = g.message
      and i.state = 'dead'
    where p_all
      or i.agent_id = p_recipient
      or i.sender = p_sender
      and not exists (
        select
        from openclaw.agent a
        where a.agent_id = i.agent_id
          and p_sender <> all (a.allow_from)
      )
    order by i.message_uuid, i.inbox_seq desc
  ) c;

  if v_seq is not null then
    select coalesce(array_agg(r.inbox_seq), '{}')
    into v_full
    from (
      select
        i.inbox_seq,
        a.room < row_number() over (partition by i.agent_id order by i.inbox_seq) as is_full
      from openclaw.inbox i
      join (
        select x.agent_id, x.room
        from (
          select
            array_agg(o.agent_id) as agents,
            array_agg(coalesce(o.inbox_limit, p_inbox_limit)) as limits,
            array_agg(w.wanted) as wanted
          from (
            select d.agent_id, count(*) as wanted
            from openclaw.inbox d
            where d.inbox_seq = any (v_seq)
            group by d.agent_id
          ) w
          join openclaw.agent o using (agent_id)
        ) asked
        cross join lateral openclaw.inbox_rooms(asked.agents, asked.limits, asked.wanted) x
      ) a on a.agent_id = i.agent_id
      where i.inbox_seq = any (v_seq)
    ) r
    where r.is_full;

    perform openclaw.message_lock(v_seq);

    -- what is not consumed was sent once more by a rewound workflow and is on its way as that
    with back as (
      update dbos_system.notifications n
      set consumed = false
      from openclaw.inbox i
      left join dbos_system.workflow_status s on s.workflow_uuid = i.workflow_uuid
      where i.inbox_seq = any (v_seq)
        and i.inbox_seq <> all (v_full)
        and i.state = 'dead'
        and coalesce(s.status, 'ERROR') in ('ERROR', 'SUCCESS', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
        and n.message_uuid = i.message_uuid
        and n.destination_uuid = 'agent:' || i.agent_id
        and n.consumed
      returning i.inbox_seq
    )
    select coalesce(array_agg(b.inbox_seq), '{}')
    into v_redriven
    from back b;
  end if;

  if cardinality(v_redriven) > 0 then
    perform openclaw.metric_keep(v_redriven, false);
    with lived as (
      select
        i.inbox_seq, i.workflow_uuid as origin, g.fork, i.await_step,
        v_now + i.expires_at - i.accepted_at as expires_at
      from unnest(v_seq, v_fork) as g (seq, fork)
      join openclaw.inbox i on i.inbox_seq = g.seq
      where i.inbox_seq = any (v_redriven)
    ),
    origin as (
      update dbos_system.workflow_status s
      set was_forked_from = true
      from lived l
      where s.workflow_uuid = l.origin
      returning s.*
    ),
    forked as (
      insert into dbos_system.workflow_status (
        workflow_uuid, status, name, class_name, config_name, authenticated_user, assumed_role,
        authenticated_roles, executor_id, created_at, updated_at, application_version,
        application_id, recovery_attempts, priority, serialization, application_name,
        delay_until_epoch_ms, forked_from, attributes, inputs
      )
      select
        l.fork, 'DELAYED', o.name, o.class_name, o.config_name, o.authenticated_user, o.assumed_role,
        o.authenticated_roles, '', v_now, v_now, p_version,
        o.application_id, 0, o.priority, o.serialization, coalesce(o.application_name, p_app),
        l.expires_at, o.workflow_uuid, o.attributes, o.inputs
      from lived l
      join origin o on o.workflow_uuid = l.origin
    ),
    inputs as (
      insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
      select l.fork, i.inputs, v_now
      from lived l
      join origin o on o.workflow_uuid = l.origin
      join dbos_system.workflow_input i on i.workflow_uuid = l.origin
    ),
    checkpoints as (
      insert into dbos_system.operation_outputs (
        workflow_uuid, function_id, function_name, output, error, child_workflow_id,
        started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp
      )
      select
        l.fork, c.function_id, c.function_name, c.output, c.error, c.child_workflow_id,
        c.started_at_epoch_ms, c.completed_at_epoch_ms, c.serialization, c.application_name, v_now
      from lived l
      join origin o on o.workflow_uuid = l.origin
      join dbos_system.operation_outputs c
        on c.workflow_uuid = l.origin
        and c.function_id < l.await_step
    ),
    carried as (
      update openclaw.inbox i
      set state = 'ready',
        workflow_uuid = o.fork,
        attempt = 0,
        handed = false,
        holder = null,
        delivery_id = null,
        last_attempt_at = null,
        reason = null,
        accepted_at = v_now,
        due_at = v_now,
        expires_at = l.expires_at
      from lived l
      left join (
        select m.inbox_seq, m.fork
        from lived m
        join origin s on s.workflow_uuid = m.origin
      ) o on o.inbox_seq = l.inbox_seq
      where i.inbox_seq = l.inbox_seq
      returning i.inbox_seq, i.agent_id, i.message_uuid
    )
    insert into openclaw.audit (principal_id, act, subject, detail)
    select p_by, 'message.redrive', r.message_uuid, jsonb_build_object('inbox', r.agent_id)
    from carried r;

    -- the log of what had happened before the wait is the fork's, too; its rows refer to the fork
    with kept as (
      select i.workflow_uuid as fork, h.function_id, h.key, h.value, h.serialization
      from openclaw.inbox i
      join dbos_system.workflow_status s on s.workflow_uuid = i.workflow_uuid
      join dbos_system.workflow_events_history h
        on h.workflow_uuid = s.forked_from
        and h.function_id < i.await_step
      where i.inbox_seq = any (v_redriven)
    ),
    history as (
      insert into dbos_system.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
      select k.fork, k.function_id, k.key, k.value, k.serialization
      from kept k
    )
    insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
    select distinct on (k.fork, k.key) k.fork, k.key, k.value, k.serialization
    from kept k
    order by k.fork, k.key, k.function_id desc;
  end if;

  return query
  select
    g.message,
    case
      when i.inbox_seq = any (v_redriven) then 'redriven'
      when exists (
        select
        from dbos_system.workflow_status s
        where s.workflow_uuid = g.fork
          and s.forked_from is not null
      ) then 'redriven'
      when i.inbox_seq = any (v_full) then 'full'
      when i.inbox_seq is null then 'unknown'
      else 'live'
    end,
    openclaw.message_id(i.sender, i.message_uuid),
    i.agent_id, i.inbox_seq, i.workflow_uuid, i.expires_at,
    array(
      select x.host || '/' || x.executor_id
      from openclaw.subscription b
      join openclaw.executor x on x.executor_id = b.executor_id
      where b.agent_id = i.agent_id
        and i.inbox_seq = any (v_redriven)
    )
  from unnest(p_message, p_fork) with ordinality as g (message, fork, ord)
  left join lateral (
    select d.*
    from dbos_system.notifications n
    join openclaw.inbox d
      on d.agent_id = substr(n.destination_uuid, 7)
      and d.message_uuid = n.message_uuid
      and d.state in ('ready', 'leased', 'dead')
    where n.message_uuid = g.message
      and starts_with(n.destination_uuid, 'agent:')
      and (
        p_all
        or d.agent_id = p_recipient
        or d.sender = p_sender
        and not exists (
          select
          from openclaw.agent a
          where a.agent_id = d.agent_id
            and p_sender <> all (a.allow_from)
        )
      )
    order by d.inbox_seq desc
    limit 1
  ) i on true
  order by g.ord;
end
$$;

-- Deletes dead letters and what was in them. The workflows that carried them stay, and say how the
-- messages ended, until retention takes them. A row for each that was deleted by this call.
-- Locks: inbox in the order of rank, then notifications.
create or replace function openclaw.dead_letter_purge(
  p_by text,
  p_all boolean,
  p_recipient text,
  p_sender text,
  p_message text[]
)
returns table (message_uuid text)
language plpgsql
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_dead bigint[];
begin
  v_dead := array(
    select i.inbox_seq
    from openclaw.inbox i
    where i.message_uuid = any (p_message)
      and i.state = 'dead'
      and (p_all or i.agent_id = p_recipient or i.sender = p_sender)
    order by i.rank, i.inbox_seq
    for update
  );
  perform openclaw.metric_keep(v_dead, true);

  return query
  with purged as (
    delete from openclaw.inbox i
    where i.inbox_seq = any (v_dead)
    returning i.agent_id, i.message_uuid
  ),
  emptied as (
    delete from dbos_system.notifications n
    using purged p
    where n.message_uuid = p.message_uuid
      and n.destination_uuid = 'agent:' || p.agent_id
      -- one that was sent once more is on its way
      and n.consumed
  ),
  noted as (
    insert into openclaw.audit (principal_id, act, subject, detail)
    select p_by, 'message.purge', p.message_uuid, jsonb_build_object('inbox', p.agent_id)
    from purged p
  )
  select distinct p.message_uuid
  from purged p;
end
$$;
