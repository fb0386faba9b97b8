-- The engine's one writing transition: commits what a set of workflows owes, at a barrier. Each
-- workflow is started by this call (p_start) or goes on under its fence token; its checkpoints,
-- messages, events and new disposition are written together or, where it is refused or fenced,
-- not at all. One workflow's refusal costs the others of the set nothing.
--
-- Arrays of one prefix belong together, element by element; the *_of arrays say to which
-- workflow, counted from 1, an element belongs. Ages and delays are milliseconds relative to now,
-- because the callers' clocks decide nothing.
--
--   p_executor   who goes on with those that are 'PENDING'; null where none is
--   p_status     'PENDING' goes on under the same owner; 'DELAYED' parked until p_delay has passed;
--                'ENQUEUED' left to whoever claims it; 'SUCCESS' and 'ERROR' finished
--   p_token      for a start a fresh token, else the owner token that the claim gave
--   p_send_*     a message to an agent's mailbox; it is its step's effect, and the step's checkpoint
--                is written here because only here is the message's place in the inbox known
--   p_step_from  where not null, the checkpoint's output is what an earlier statement of the same
--                transaction left in the setting openclaw.step_output_<value>; the step began with that
--                transaction
--
--   p_send_await the step that waits until the message is settled; null: nobody waits, and the
--                message is on its own from here
--   p_attributes of starts: what a workflow can be found by; null where none has any
--   p_host       of a caller that hands messages over; null: it does not
--
-- Outcomes, one row for each workflow:
--   committed    written now, or by an earlier call with the same token
--   exists       a start, and the id is taken by an equal request: the row says what became of it, and
--                of a message that was redriven what became of it there
--   conflict     a start, and the id is taken by a different request
--   fenced       the token is no longer the owner's; status says what the workflow is now
--   refused      a start, or a send; reason is the code of the error
--
-- Where its message is leased to a receiver already, hand_over says to whom (051_hand_over.sql), and the
-- receiver is not among the bells.
--
-- Called twice with the same tokens it does once what it does.
-- Locks: the advisory locks of inboxes, as inbox_room says, and inbox_bound; workflow_status
-- in the order of ids; then the mailboxes' rows (key share), then inserts; last, and not waiting, those
-- of inbox_hand_over.
create or replace function openclaw.workflow_commit(
  p_executor text,
  p_app text,
  p_version text,
  p_legacy boolean,
  p_auto_provision boolean,
  p_inbox_limit bigint,
  p_id text[],
  p_name text[],
  p_start boolean[],
  p_token text[],
  p_principal text[],
  p_input text[],
  p_status text[],
  p_delay bigint[],
  p_output text[],
  p_error text[],
  p_step_of integer[],
  p_step_id integer[],
  p_step_name text[],
  p_step_output text[],
  p_step_error text[],
  p_step_from text[],
  p_step_age bigint[],
  p_step_took bigint[],
  p_send_of integer[],
  p_send_step integer[],
  p_send_name text[],
  p_send_to text[],
  p_send_id text[],
  p_send_message text[],
  p_send_from text[],
  p_send_await integer[],
  p_send_waiter text[],
  p_send_options bigint[],
  p_event_of integer[],
  p_event_step integer[],
  p_event_key text[],
  p_event_value text[],
  p_attributes text[] default null,
  p_host text default null
)
returns table (
  ord integer,
  outcome text,
  reason text,
  status text,
  output text,
  error text,
  inbox_seq bigint,
  now_ms bigint,
  bells text[],
  hand_over text
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
  v_started integer[] := '{}';
  v_others integer[];
  v_live integer[] := '{}';
  v_refused integer[] := '{}';
  v_reasons text[] := '{}';
  v_reason text;
  v_agents text[];
  v_rooms bigint[];
  v_repeated integer[] := '{}';
  v_sent_seq bigint[] := '{}';
  v_light constant integer := 16384; -- bytes of a message that fits into a datagram
  v_handed_seq bigint[]; -- leased to v_holder, as v_hand_over says
  v_holder text[];
  v_hand_over text[];
  v_written bigint; -- the messages; behind whatever they had to wait for
  v_missing text;
begin
  if p_auto_provision and cardinality(p_send_of) > 0 then
    for v_missing in
      select distinct s.agent_id
      from unnest(p_send_to) as s (agent_id)
      where not exists (select from openclaw.agent a where a.agent_id = s.agent_id)
      order by 1
    loop
      perform openclaw.agent_provision(v_missing, p_app, p_version, 'gateway');
    end loop;
  end if;

  if cardinality(p_send_of) = 1 then
    v_reason := (
      select
        case
          when a.agent_id is null then 'UNKNOWN_RECIPIENT'
          -- a sender that it takes nothing from does not learn that it is there
          when a.allow_from is not null
            and p_send_from[1] <> all (a.allow_from)
            and not openclaw.heartbeat_asks(p_id[p_send_of[1]])
            then 'UNKNOWN_RECIPIENT'
          when openclaw.inbox_room(a.agent_id, coalesce(a.inbox_limit, p_inbox_limit), 1) < 1 then 'INBOX_FULL'
        end
      from (select) one
      left join openclaw.agent a on a.agent_id = p_send_to[1]
    );
    if v_reason is not null then
      v_refused := p_send_of;
      v_reasons := array[v_reason];
    end if;
  elsif cardinality(p_send_of) > 1 then
    with asked as materialized (
      select
        array_agg(o.agent_id) as agents,
        array_agg(coalesce(o.inbox_limit, p_inbox_limit)) as limits,
        array_agg(w.wanted) as wanted
      from (select t.agent_id, count(*) as wanted from unnest(p_send_to) as t (agent_id) group by 1) w
      join openclaw.agent o using (agent_id)
    )
    select array_agg(x.agent_id), array_agg(x.room)
    into v_agents, v_rooms
    from asked
    cross join lateral openclaw.inbox_rooms(asked.agents, asked.limits, asked.wanted) x;

    select coalesce(array_agg(r.of_ord), '{}'), coalesce(array_agg(r.reason), '{}')
    into v_refused, v_reasons
    from (
      select
        s.of_ord,
        case
          when a.agent_id is null then 'UNKNOWN_RECIPIENT'
          when a.allow_from is not null
            and s.sender <> all (a.allow_from)
            and not openclaw.heartbeat_asks(p_id[s.of_ord])
            then 'UNKNOWN_RECIPIENT'
          when g.room < row_number() over (partition by s.agent_id order by s.ord) then 'INBOX_FULL'
        end as reason
      from unnest(p_send_of, p_send_to, p_send_from)
        with ordinality as s (of_ord, agent_id, sender, ord)
      left join openclaw.agent a on a.agent_id = s.agent_id
      left join unnest(v_agents, v_rooms) as g (agent_id, room) on g.agent_id = s.agent_id
    ) r
    where r.reason is not null;

    -- the room is for those who come in: not for who is refused, a repeat, or the same a second time; what
    -- is known keeps its answer, whatever is said here
    if 'INBOX_FULL' = any (v_reasons) then
      select coalesce(array_agg(r.of_ord), '{}'), coalesce(array_agg(r.reason), '{}')
      into v_refused, v_reasons
      from (
        select
          t.of_ord,
          case
            when not t.allowed then 'UNKNOWN_RECIPIENT'
            when t.known
              or t.room < count(*) filter (where t.allowed and not t.known and t.time = 1)
                over (partition by t.agent_id order by t.ord)
              then 'INBOX_FULL'
          end as reason
        from (
          select
            s.of_ord, s.agent_id, s.ord, g.room,
            a.agent_id is not null
              and (coalesce(s.sender = any (a.allow_from), true) or openclaw.heartbeat_asks(p_id[s.of_ord]))
              as allowed,
            p_start[s.of_ord]
              and exists (
                select
                from dbos_system.workflow_status w
                where w.workflow_uuid = p_id[s.of_ord]
              ) as known,
            row_number() over (partition by s.agent_id, s.id order by s.ord) as time
          from unnest(p_send_of, p_send_to, p_send_from, p_send_id)
            with ordinality as s (of_ord, agent_id, sender, id, ord)
          left join openclaw.agent a on a.agent_id = s.agent_id
          left join unnest(v_agents, v_rooms) as g (agent_id, room) on g.agent_id = s.agent_id
        ) t
      ) r
      where r.reason is not null;
    end if;
  end if;

  -- starts
  if true = any (p_start) then
    with started as (
      insert into dbos_system.workflow_status (
        workflow_uuid, status, name, authenticated_user, assumed_role, executor_id,
        created_at, updated_at, application_version, application_id, recovery_attempts,
        priority, serialization, application_name, creator_xid, owner_xid,
        queue_name, started_at_epoch_ms, delay_until_epoch_ms, completed_at,
        inputs, output, error, attributes
      )
      select
        w.id, w.status, w.name, w.principal, '',
        case when w.status = 'PENDING' then p_executor else '' end,
        v_now, v_now, p_version, '',
        case when w.status = 'ENQUEUED' then 0 else 1 end,
        0, 'portable_json', p_app, w.token,
        case when w.status = 'PENDING' then w.token end,
        case when w.status = 'ENQUEUED' then '_dbos_internal_queue' end,
        case when w.status = 'PENDING' then v_now end,
        case when w.status = 'DELAYED' then v_now + w.delay end,
        case when w.status in ('SUCCESS', 'ERROR') then v_now end,
        case when p_legacy then w.input end,
        case when p_legacy then w.output end,
        case when p_legacy then w.error end,
        p_attributes[w.ord::integer]::jsonb
      from unnest(p_id, p_name, p_start, p_token, p_principal, p_input, p_status, p_delay, p_output, p_error)
        with ordinality as w (id, name, start, token, principal, input, status, delay, output, error, ord)
      where w.start
        and w.ord <> all (v_refused)
      order by w.id, w.ord
      on conflict (workflow_uuid) do nothing
      returning creator_xid
    )
    select coalesce(array_agg(w.ord), '{}')
    into v_started
    from unnest(p_token) with ordinality as w (token, ord)
    join started on started.creator_xid = w.token;

    if cardinality(v_started) > 0 then
      -- what an older client's delete left behind must not become this workflow's past
      if exists (select from dbos_system.operation_outputs o where o.workflow_uuid = any (p_id))
        or exists (select from dbos_system.workflow_input i where i.workflow_uuid = any (p_id))
      then
        delete from dbos_system.operation_outputs o
        using unnest(p_id) with ordinality as w (id, ord)
        where o.workflow_uuid = w.id
          and w.ord = any (v_started);

        delete from dbos_system.workflow_input i
        using unnest(p_id) with ordinality as w (id, ord)
        where i.workflow_uuid = w.id
          and w.ord = any (v_started);
      end if;

      insert into dbos_system.workflow_input (workflow_uuid, inputs, retention_timestamp)
      select w.id, w.input, v_now
      from unnest(p_id, p_input) with ordinality as w (id, input, ord)
      where w.ord = any (v_started);
    end if;
  end if;

  -- goings-on
  if false = any (p_start) then
    perform
    from dbos_system.workflow_status s
    where s.workflow_uuid = any (p_id)
    order by s.workflow_uuid
    for no key update;

    with gone_on as (
      update dbos_system.workflow_status s
      set status = w.status,
        updated_at = v_now,
        owner_xid = null,
        executor_id = case when w.status = 'DELAYED' then '' else s.executor_id end,
        -- to have come to a wait is progress: waking from it is no recovery
        recovery_attempts = case when w.status = 'DELAYED' then 0 else s.recovery_attempts end,
        queue_name = case when w.status = 'ENQUEUED' then coalesce(s.queue_name, '_dbos_internal_queue') else s.queue_name end,
        delay_until_epoch_ms = case when w.status = 'DELAYED' then v_now + w.delay else s.delay_until_epoch_ms end,
        completed_at = case when w.status in ('SUCCESS', 'ERROR') then v_now end,
        deduplication_id = case when w.status in ('SUCCESS', 'ERROR') then null else s.deduplication_id end,
        serialization = case
          when w.status not in ('SUCCESS', 'ERROR') or s.serialization = 'js_superjson' then s.serialization
          else 'portable_json'
        end,
        output = case when p_legacy then w.output end,
        error = case when p_legacy then w.error end
      from unnest(p_id, p_start, p_token, p_status, p_delay, p_output, p_error)
        with ordinality as w (id, start, token, status, delay, output, error, ord)
      where not w.start
        and w.status <> 'PENDING'
        and w.ord <> all (v_refused)
        and s.workflow_uuid = w.id
        and s.status = 'PENDING'
        and s.owner_xid = w.token
      returning w.ord
    )
    select coalesce(array_agg(x.ord), '{}')
    into v_live
    from (
      select ord from gone_on
      union all
      select w.ord
      from unnest(p_id, p_start, p_token, p_status)
        with ordinality as w (id, start, token, status, ord)
      join dbos_system.workflow_status s
        on s.workflow_uuid = w.id
        and s.status = 'PENDING'
        and s.owner_xid = w.token
      where not w.start
        and w.status = 'PENDING'
        and w.ord <> all (v_refused)
    ) x;

    -- a token's checkpoint that is there already was written by this call made before
    select coalesce(array_agg(distinct g.of_ord), '{}')
    into v_repeated
    from (
      select t.of_ord, t.id
      from unnest(p_step_of, p_step_id) as t (of_ord, id)
      union all
      select t.of_ord, t.id
      from unnest(p_send_of, p_send_step) as t (of_ord, id)
    ) g
    join dbos_system.operation_outputs o
      on o.workflow_uuid = p_id[g.of_ord]
      and o.function_id = g.id
    where g.of_ord = any (v_live);

    v_live := array(select l from unnest(v_live) l where l <> all (v_repeated));
  end if;

  v_live := v_live || v_started;

  if cardinality(v_live) > 0 then
    if cardinality(p_send_of) > 0 then
      -- a message that outlived the delete of its workflow, or its rewinding, is not this workflow's
      if exists (select from dbos_system.notifications n where n.message_uuid = any (p_send_id)) then
        -- but one that a DBOS client has sent under the id, and that is on its way, is the client's
        v_others := array(
          select s.of_ord
          from unnest(p_send_of, p_send_id) as s (of_ord, id)
          join dbos_system.notifications n on n.message_uuid = s.id
          join openclaw.inbox i
            on i.message_uuid = n.message_uuid
            and i.agent_id = substr(n.destination_uuid, 7)
          where s.of_ord = any (v_started)
            and i.sender = 'dbos'
            and i.state in ('ready', 'leased')
        );
        if cardinality(v_others) > 0 then
          delete from dbos_system.workflow_status s
          using unnest(p_id, p_token) with ordinality as w (id, token, ord)
          where w.ord = any (v_others)
            and s.workflow_uuid = w.id
            and s.creator_xid = w.token;
          delete from dbos_system.workflow_input i
          using unnest(p_id) with ordinality as w (id, ord)
          where w.ord = any (v_others)
            and i.workflow_uuid = w.id;
          v_live := array(select l from unnest(v_live) l where l <> all (v_others));
          v_started := array(select l from unnest(v_started) l where l <> all (v_others));
          v_refused := v_refused || v_others;
          v_reasons := v_reasons || array_fill('IDEMPOTENCY_CONFLICT'::text, array[cardinality(v_others)]);
        end if;

        with stale as (
          select n.message_uuid, substr(n.destination_uuid, 7) as agent_id
          from unnest(p_send_of, p_send_id) as s (of_ord, id)
          join dbos_system.notifications n on n.message_uuid = s.id
          where s.of_ord = any (v_live)
        )
        update openclaw.inbox i
        set state = 'withdrawn',
          due_at = v_now
        from stale t
        where i.agent_id = t.agent_id
          and i.message_uuid = t.message_uuid
          and i.state in ('ready', 'leased');

        delete from dbos_system.notifications n
        using unnest(p_send_of, p_send_id) as s (of_ord, id)
        where n.message_uuid = s.id
          and s.of_ord = any (v_live);
      end if;

      -- not as a clause of the function: only a superuser may define one with it
      perform set_config('openclaw.writer', 'gateway', true);
      insert into dbos_system.notifications (
        destination_uuid, topic, message, created_at_epoch_ms, message_uuid, serialization
      )
      select 'agent:' || s.agent_id, '__null__topic__', s.message, v_now, s.id, 'portable_json'
      from unnest(p_send_of, p_send_to, p_send_id, p_send_message)
        with ordinality as s (of_ord, agent_id, id, message, ord)
      where s.of_ord = any (v_live)
      order by s.ord;
      perform set_config('openclaw.writer', '', true);

      with sent as (
        insert into openclaw.inbox (
          agent_id, message_uuid, sender, workflow_uuid, await_step, waiter,
          expects_reply, priority, max_attempts, accepted_at, due_at, expires_at
        )
        select
          s.agent_id, s.id, s.sender, case when s.await_step is not null then p_id[s.of_ord] end, s.await_step, s.waiter,
          o.expects_reply <> 0, o.priority, o.max_attempts, v_now, v_now + o.delay, v_now + o.ttl
        from unnest(p_send_of, p_send_to, p_send_id, p_send_from, p_send_await, p_send_waiter)
          with ordinality as s (of_ord, agent_id, id, sender, await_step, waiter, ord)
        -- five numbers for each message: expects reply, priority, attempts, delay, time to live
        cross join lateral (
          select
            p_send_options[s.ord * 5 - 4] as expects_reply,
            p_send_options[s.ord * 5 - 3] as priority,
            p_send_options[s.ord * 5 - 2] as max_attempts,
            p_send_options[s.ord * 5 - 1] as delay,
            p_send_options[s.ord * 5] as ttl
        ) o
        where s.of_ord = any (v_live)
        order by s.ord
        returning inbox_seq, message_uuid
      )
      select array_agg(sent.inbox_seq order by s.ord)
      into v_sent_seq
      from unnest(p_send_id) with ordinality as s (id, ord)
      left join sent on sent.message_uuid = s.id;
      v_written := openclaw.now_ms();
    end if;

    if cardinality(p_step_of) > 0 or cardinality(p_send_of) > 0 then
      insert into dbos_system.operation_outputs (
        workflow_uuid, function_id, function_name, output, error,
        started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name, retention_timestamp
      )
      select
        p_id[t.of_ord], t.id, t.name,
        case when t.source is null then t.output else current_setting('openclaw.step_output_' || t.source) end,
        t.error,
        case when t.source is null then v_now - t.age else openclaw.ms_of(transaction_timestamp()) end,
        case when t.source is null then v_now - t.age + t.took else v_now end,
        'portable_json', p_app, v_now
      from unnest(p_step_of, p_step_id, p_step_name, p_step_output, p_step_error, p_step_from, p_step_age, p_step_took)
        as t (of_ord, id, name, output, error, source, age, took)
      where t.of_ord = any (v_live)
      union all
      select
        p_id[s.of_ord], s.step, s.name,
        format(
          '{"messageId":%s,"inboxSeq":%s}',
          to_json(openclaw.message_id(s.sender, s.id)),
          v_sent_seq[s.ord]
        ),
        null,
        v_now, v_written, 'portable_json', p_app, v_now
      from unnest(p_send_of, p_send_step, p_send_name, p_send_id, p_send_from)
        with ordinality as s (of_ord, step, name, id, sender, ord)
      where s.of_ord = any (v_live);
    end if;

    if cardinality(p_event_of) > 0 then
      -- a workflow that has just been started has none yet: there is nothing that could be replaced
      insert into dbos_system.workflow_events (workflow_uuid, key, value, serialization)
      select distinct on (e.of_ord, e.key)
        p_id[e.of_ord], e.key, coalesce(e.value, format('{"at":%s}', v_now)), 'portable_json'
      from unnest(p_event_of, p_event_key, p_event_value)
        with ordinality as e (of_ord, key, value, ord)
      where e.of_ord = any (v_started)
      order by e.of_ord, e.key, e.ord desc;

      insert into dbos_system.workflow_events_history (workflow_uuid, function_id, key, value, serialization)
      select distinct on (e.of_ord, e.step, e.key)
        p_id[e.of_ord], e.step, e.key, coalesce(e.value, format('{"at":%s}', v_now)), 'portable_json'
      from unnest(p_event_of, p_event_step, p_event_key, p_event_value)
        with ordinality as e (of_ord, step, key, value, ord)
      where e.of_ord = any (v_started)
      order by e.of_ord, e.step, e.key, e.ord desc;

      if cardinality(v_live) > cardinality(v_started) then
        perform openclaw.workflow_event(
          array_agg(p_id[e.of_ord]),
          array_agg(e.step),
          array_agg(e.key),
          array_agg(coalesce(e.value, format('{"at":%s}', v_now)))
        )
        from unnest(p_event_of, p_event_step, p_event_key, p_event_value) as e (of_ord, step, key, value)
        where e.of_ord = any (v_live)
          and e.of_ord <> all (v_started);
      end if;
    end if;

    if 'SUCCESS' = any (p_status) or 'ERROR' = any (p_status) then
      insert into dbos_system.workflow_output (workflow_uuid, output, error, retention_timestamp)
      select w.id, w.output, w.error, v_now
      from unnest(p_id, p_status, p_output, p_error) with ordinality as w (id, status, output, error, ord)
      where w.ord = any (v_live)
        and w.status in ('SUCCESS', 'ERROR')
      on conflict (workflow_uuid) do update
      set output = excluded.output,
        error = excluded.error,
        retention_timestamp = excluded.retention_timestamp;
    end if;
  end if;

  if p_host is not null
    and cardinality(v_sent_seq) > 0
    and exists (
      select
      from openclaw.subscription b
      where b.agent_id = any (p_send_to)
        and b.epoch > 0
    )
  then
    select array_agg(h.inbox_seq), array_agg(h.holder), array_agg(h.hand_over)
    into v_handed_seq, v_holder, v_hand_over
    from (
      select array_agg(s.agent_id) as agents, array_agg(s.seq) as seqs
      from unnest(p_send_to, p_send_message, v_sent_seq) with ordinality as s (agent_id, message, seq, ord)
      where s.seq is not null
        and octet_length(s.message) <= v_light
        and p_send_options[s.ord * 5 - 1] = 0
    ) m
    cross join lateral openclaw.inbox_hand_over(p_host, m.agents, m.seqs) h;
  end if;

  -- the common answer needs no look at the tables
  return query
  select
    w.ord::integer, 'committed', null, w.status, null, null,
    v_sent_seq[array_position(p_send_of, w.ord::integer)],
    v_now,
    array(
      select distinct x.host || '/' || x.executor_id
      from unnest(p_send_of, p_send_to) as s (of_ord, agent_id)
      join openclaw.subscription b on b.agent_id = s.agent_id
      join openclaw.executor x on x.executor_id = b.executor_id
      where s.of_ord = w.ord
        and (
          v_holder is null
          or x.executor_id
            is distinct from v_holder[array_position(v_handed_seq, v_sent_seq[array_position(p_send_of, w.ord::integer)])]
        )
    ),
    v_hand_over[array_position(v_handed_seq, v_sent_seq[array_position(p_send_of, w.ord::integer)])]
  from unnest(p_status) with ordinality as w (status, ord)
  where w.ord = any (v_live);

  if cardinality(v_live) < cardinality(p_id) then
    return query
    select
      w.ord::integer,
      case
        when not w.start then
          case
            when w.ord = any (v_repeated) then 'committed'
            when w.ord = any (v_refused) then 'refused'
            else 'fenced'
          end
        when s.workflow_uuid is null then 'refused'
        when s.creator_xid = w.token then 'committed'
        when s.name is distinct from w.name
          or not openclaw.input_equal(
            w.id, w.name, s.serialization, coalesce(i.inputs, s.inputs), w.input,
            p_send_options[array_position(p_send_of, w.ord::integer) * 5]
          ) then 'conflict'
        else 'exists'
      end,
      v_reasons[array_position(v_refused, w.ord::integer)],
      coalesce(r.status, s.status),
      coalesce(o.output, r.output, s.output),
      coalesce(o.error, r.error, s.error),
      b.seq,
      v_now,
      '{}'::text[],
      null
    from unnest(p_id, p_name, p_start, p_token, p_input)
      with ordinality as w (id, name, start, token, input, ord)
    left join dbos_system.workflow_status s on s.workflow_uuid = w.id
    left join dbos_system.workflow_input i on i.workflow_uuid = w.id
    left join lateral (
      select openclaw.sent_seq(c.output) as seq
      from dbos_system.operation_outputs c
      where c.workflow_uuid = w.id
        and c.function_id = p_send_step[array_position(p_send_of, w.ord::integer)]
        and c.function_name = p_send_name[array_position(p_send_of, w.ord::integer)]
    ) b on true
    -- a message that has died and was redriven is another workflow's since
    left join openclaw.inbox m
      on m.inbox_seq = case when w.start and s.status = 'ERROR' then b.seq end
    left join dbos_system.workflow_status r on r.workflow_uuid = nullif(m.workflow_uuid, w.id)
    left join dbos_system.workflow_output o on o.workflow_uuid = coalesce(r.workflow_uuid, w.id)
    where w.ord <> all (v_live);
  end if;
end
$$;
