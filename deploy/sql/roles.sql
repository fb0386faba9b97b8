-- SPDX-License-Identifier: MIT
--
-- The roles and the database. Run once as a superuser, and again whenever you like:
--
--   psql -v ON_ERROR_STOP=1 -v database=openclaw -f deploy/sql/roles.sql
--
-- openclaw_owner    owns the database and everything `gatewayctl migrate` makes in it: the only role that
--                   may change its structure. Not used while the gateway runs.
-- openclaw_gateway  what the gateway's programs are: reads and writes rows, calls functions, makes nothing.
-- openclaw_sweeper  the same rights under another name, so that the pooler can keep places for the sweeper.
--
-- None of them is a superuser or bypasses row security. They have no password yet: give them one with
-- \password, or let pg_hba.conf map operating system users to them.

\set QUIET on

select format('create role %I login nosuperuser nocreatedb nocreaterole nobypassrls', name)
from unnest(array ['openclaw_owner', 'openclaw_gateway', 'openclaw_sweeper']) as name
where not exists (select from pg_catalog.pg_roles where rolname = name)
\gexec

grant openclaw_gateway to openclaw_sweeper;

-- For `gatewayctl doctor`: since when other roles' transactions are open, which vacuum cannot clean behind.
-- The owner's function openclaw.oldest_transaction() looks, so that the gateway itself sees no statement of theirs.
grant pg_read_all_stats to openclaw_owner;

-- A pooler in transaction mode refuses start-up options and shares sessions: limits belong to the role.
alter role openclaw_gateway set statement_timeout = '30s';
alter role openclaw_gateway set lock_timeout = '10s';
alter role openclaw_gateway set idle_in_transaction_session_timeout = '15s';
alter role openclaw_sweeper set statement_timeout = '120s';
alter role openclaw_sweeper set lock_timeout = '10s';
alter role openclaw_sweeper set idle_in_transaction_session_timeout = '15s';
alter role openclaw_owner set lock_timeout = '10s';

select format('create database %I owner openclaw_owner', :'database')
where not exists (select from pg_catalog.pg_database where datname = :'database')
\gexec

revoke all on database :"database" from public;
grant connect on database :"database" to openclaw_gateway, openclaw_sweeper;

\connect :"database"

revoke create on schema public from public;

-- Whatever the owner makes from now on, in any schema, the application may use and not change.
alter default privileges for role openclaw_owner grant usage on schemas to openclaw_gateway;
alter default privileges for role openclaw_owner grant select, insert, update, delete on tables to openclaw_gateway;
alter default privileges for role openclaw_owner grant usage, select on sequences to openclaw_gateway;
alter default privileges for role openclaw_owner revoke execute on functions from public;
alter default privileges for role openclaw_owner grant execute on functions to openclaw_gateway;
