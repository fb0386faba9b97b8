-- Tokens and tickets. The database has their SHA-256 only.

-- What remains of scopes for somebody who asks for these (null: all of them). An operator has all.
create or replace function openclaw.scopes_of(p_had text[], p_asked text[])
returns text[]
language sql
immutable
parallel safe
as $$
  select case
    when p_asked is null or 'operator' = any (p_had) then coalesce(p_asked, p_had)
    else array(
      select a
      from pg_catalog.unnest(p_had) as a
      where a = any (p_asked)
    )
  end
$$;

-- Whose a token is and what it may do; lives_ms: until it ends, null if never. A credential that has
-- ended comes too, so that the log can say whose it was.
create or replace function openclaw.credential_check(p_token_sha256 text)
returns table (
  principal_id text,
  kind text,
  scopes text[],
  credential_id text,
  lives_ms bigint,
  valid boolean,
  use_is_news boolean
)
language plpgsql
stable
set search_path = pg_catalog
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  select
    p.principal_id, p.kind, openclaw.scopes_of(p.scopes, c.scopes), c.credential_id,
    c.expires_at - openclaw.now_ms(),
    c.revoked_at is null and (c.expires_at is null or c.expires_at > openclaw.now_ms()),
    openclaw.use_is_news(c.last_used_at)
  from openclaw.credential c
  join openclaw.principal p on p.principal_id = c.principal_id
  where c.token_sha256 = p_token_sha256;
end
$$;

-- A new token of a principal in place of older ones, which end after p_overlap_ms (0: at once; null:
-- they stay): in place of p_replaced, or, where that is null, of all. It may do what those that it
-- replaces may, or as much of that as p_scopes says. Who replaces a token of its own makes none that
-- lives longer than that one was given. Called again with the same token it changes nothing.
-- OC002: there is no such principal, or nothing to replace.
-- Locks: principal, then its credentials.
create or replace function openclaw.credential_rotate(
  p_by text,
  p_principal text,
  p_replaced text,
  p_token_sha256 text,
  p_lives_ms bigint,
  p_overlap_ms bigint,
  p_scopes text[]
)
returns table (credential_id text, expires_at bigint, ended bigint)
language plpgsql
set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_now constant bigint := openclaw.now_ms();
  v_had text[];
  v_may text[];
  v_lives_ms bigint := p_lives_ms;
  v_replaced openclaw.credential;
  v_id text;
  v_expires bigint;
  v_ended bigint := 0;
begin
  select p.scopes
  into v_had
  from openclaw.principal p
  where p.principal_id = p_principal
  for no key update;
  if not found then
    raise exception 'there is no principal %', p_principal
      using errcode = 'OC002';
  end if;

  select c.credential_id, c.expires_at
  into v_id, v_expires
  from openclaw.credential c
  where c.token_sha256 = p_token_sha256
    and c.principal_id = p_principal;
  if found then
    return query select v_id, v_expires, v_ended;
    return;
  end if;

  if p_replaced is not null then
    select c.*
    into v_replaced
    from openclaw.credential c
    where c.credential_id = p_replaced
      and c.principal_id = p_principal
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > v_now);
    if not found then
      raise exception 'there is no such token'
        using errcode = 'OC002';
    end if;
    v_may := v_replaced.scopes;
    if p_by = p_principal and v_replaced.expires_at is not null then
      v_lives_ms := least(v_lives_ms, v_replaced.expires_at - v_replaced.created_at);
    end if;
  elsif p_overlap_ms is not null then
    -- a token without scopes of its own has its principal's
    select case when count(*) = count(c.scopes) then array_agg(distinct s.scope) end
    into v_may
    from openclaw.credential c
    left join lateral unnest(c.scopes) as s (scope) on true
    where c.principal_id = p_principal
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > v_now);
  end if;

  if p_overlap_ms is not null then
    update openclaw.credential c
    set revoked_at = case when p_overlap_ms = 0 then v_now end,
      expires_at = case
        when p_overlap_ms = 0 then c.expires_at
        else least(coalesce(c.expires_at, 9223372036854775807), v_now + p_overlap_ms)
      end
    where c.principal_id = p_principal
      and (p_replaced is null or c.credential_id = p_replaced)
      and c.revoked_at is null
      and (c.expires_at is null or c.expires_at > v_now);
    get diagnostics v_ended = row_count;
  end if;

  insert into openclaw.credential as c (token_sha256, principal_id, expires_at, scopes)
  values (
    p_token_sha256, p_principal, v_now + v_lives_ms,
    case
      when p_scopes is null then v_may
      else openclaw.scopes_of(coalesce(v_may, v_had), p_scopes)
    end
  )
  returning c.credential_id, c.expires_at
  into v_id, v_expires;

  insert into openclaw.audit (principal_id, act, subject, detail)
  values (
    p_by, 'credential.rotate', p_principal,
    jsonb_build_object('credentialId', v_id, 'replaced', p_replaced, 'expiresAt', v_expires, 'ended', v_ended)
  );

  return query select v_id, v_expires, v_ended;
end
$$;

-- Ends tokens now: one, or (p_credential null) all of a principal. Where p_principal is null the
-- credential may be anybody's. Says whose were ended, nothing the second time.
-- Locks: credentials in the order of their ids.
create or replace function openclaw.credential_revoke(p_by text, p_principal text, p_credential text)
returns table (credential_id text)
language sql
set search_path = pg_catalog
as $$
  with ending as (
    select c.credential_id
    from openclaw.credential c
    where (p_principal is null or c.principal_id = p_principal)
      and (p_credential is null or c.credential_id = p_credential)
      and (p_principal is not null or p_credential is not null)
      and c.revoked_at is null
    order by c.credential_id
    for no key update
  ),
  ended as (
    update openclaw.credential c
    set revoked_at = openclaw.now_ms()
    from ending e
    where c.credential_id = e.credential_id
    returning c.credential_id, c.principal_id
  ),
  noted as (
    insert into openclaw.audit (principal_id, act, subject, detail)
    select p_by, 'credential.revoke', e.principal_id, jsonb_build_object('credentialId', e.credential_id)
    from ended e
  )
  select e.credential_id
  from ended e
$$;

-- A ticket for one WebSocket, which will be whom the credential stands for and may do as much of
-- what that may as p_scopes says. Returns when it expires. Called again with the same ticket it
-- changes nothing. OC010: a credential has p_max tickets at a time.
-- Locks: credential, then tickets that are over, skipping what others hold.
create or replace function openclaw.ticket_add(
  p_credential text,
  p_ticket_sha256 text,
  p_scopes text[],
  p_lives_ms bigint,
  p_max integer
)
returns bigint
language plpgsql
set search_path = pg_catalog
as $$
declare
  v_now constant bigint := openclaw.now_ms();
  v_principal text;
  v_expires bigint;
begin
  select c.principal_id
  into v_principal
  from openclaw.credential c
  where c.credential_id = p_credential
    and c.revoked_at is null
    and (c.expires_at is null or c.expires_at > v_now)
  for no key update;
  if not found then
    raise exception 'the token has ended'
      using errcode = 'OC013';
  end if;

  delete from openclaw.ticket t
  where t.ticket_sha256 in (
    select o.ticket_sha256
    from openclaw.ticket o
    where o.expires_at <= v_now
    order by o.expires_at
    limit 1000
    for update skip locked
  );

  if p_max <= (
    select count(*)
    from openclaw.ticket t
    where t.credential_id = p_credential
      and t.expires_at > v_now
      and t.ticket_sha256 <> p_ticket_sha256
  ) then
    raise exception 'a token has at most % tickets at a time', p_max
      using errcode = 'OC010';
  end if;

  insert into openclaw.ticket (ticket_sha256, credential_id, scopes, expires_at)
  values (p_ticket_sha256, p_credential, p_scopes, v_now + p_lives_ms)
  on conflict do nothing;
  if found then
    insert into openclaw.audit (principal_id, act, subject, detail)
    values (
      v_principal, 'ticket.add', v_principal,
      jsonb_build_object('credentialId', p_credential, 'scopes', p_scopes, 'expiresAt', v_now + p_lives_ms)
    );
  end if;

  select t.expires_at
  into v_expires
  from openclaw.ticket t
  where t.ticket_sha256 = p_ticket_sha256;
  return v_expires;
end
$$;

-- When a token was used last is kept to the minute: more would be a write for each use.
create or replace function openclaw.use_is_news(p_last_used_at bigint)
returns boolean
language sql
stable
set search_path = pg_catalog
as $$
  select coalesce(p_last_used_at < openclaw.now_ms() - 60000, true)
$$;

-- The token is in use. Whoever finds the row taken leaves it: somebody else is writing the same.
-- Locks: credential.
create or replace function openclaw.credential_used(p_credential text)
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
begin
  update openclaw.credential c
  set last_used_at = openclaw.now_ms()
  from (
    select o.token_sha256
    from openclaw.credential o
    where o.credential_id = p_credential
      and openclaw.use_is_news(o.last_used_at)
    for no key update skip locked
  ) news
  where c.token_sha256 = news.token_sha256;
  return found;
end
$$;

-- Takes a ticket for an executor. No row: there is none, its time is up, or somebody else has it.
-- Locks: ticket.
create or replace function openclaw.ticket_redeem(p_ticket_sha256 text, p_executor text)
returns table (principal_id text, kind text, scopes text[], credential_id text, expires_at bigint)
language sql
set search_path = pg_catalog
as $$
  with taken as (
    update openclaw.ticket t
    set redeemed_by = p_executor
    where t.ticket_sha256 = p_ticket_sha256
      and t.expires_at > openclaw.now_ms()
      and coalesce(t.redeemed_by, p_executor) = p_executor
    returning t.credential_id, t.scopes
  )
  select
    p.principal_id, p.kind,
    openclaw.scopes_of(openclaw.scopes_of(p.scopes, c.scopes), t.scopes),
    c.credential_id, c.expires_at
  from taken t
  join openclaw.credential c on c.credential_id = t.credential_id
  join openclaw.principal p on p.principal_id = c.principal_id
  where c.revoked_at is null
    and (c.expires_at is null or c.expires_at > openclaw.now_ms())
$$;

-- A setting that is changed, by whatever means, is on record.
create or replace function openclaw.setting_audit()
returns trigger
language plpgsql
set search_path = pg_catalog
as $$
begin
  insert into openclaw.audit (principal_id, act, subject, detail)
  values (
    'db:' || session_user, 'setting.' || lower(tg_op), coalesce(new.name, old.name),
    jsonb_build_object('from', old.value, 'to', new.value)
  );
  return null;
end
$$;

create or replace trigger openclaw_setting_audit
after update or delete on openclaw.setting
for each row
execute function openclaw.setting_audit();
