-- Doorbells between hosts. Each host has a channel, on which its sweeper listens through a direct
-- connection; nobody else does. What is said on it are executors of that host, to be rung there.

create or replace function openclaw.bell_channel(p_host text)
returns text
language sql
immutable
parallel safe
as $$ select 'openclaw_bell_' || pg_catalog.md5(p_host) $$;

-- From now on this connection hears what is said to a host. Called again it changes nothing.
create or replace function openclaw.bell_listen(p_host text)
returns text
language plpgsql
set search_path = pg_catalog
as $$
begin
  execute format('listen %I', openclaw.bell_channel(p_host));
  return openclaw.bell_channel(p_host);
end
$$;
