-- SPDX-License-Identifier: MIT
-- What the tests of the database layer work on.
drop schema if exists test cascade;
create schema test;

create table test.word (
    id int8 primary key,
    word text
);

create table test.deferred (
    id int8 primary key
);

create function test.refuse()
returns trigger
language plpgsql
as $function$
begin
    raise exception 'refused at commit'
        using errcode = 'check_violation';
end;
$function$;

create constraint trigger refuse
after insert on test.deferred
deferrable initially deferred
for each row
execute function test.refuse();

create table test.slow_commit (
    id int8 primary key
);

create function test.dawdle()
returns trigger
language plpgsql
as $function$
begin
    perform pg_sleep(60);
    return null;
end;
$function$;

create constraint trigger dawdle
after insert on test.slow_commit
deferrable initially deferred
for each row
execute function test.dawdle();

create function test.raise(p_state text, p_message text)
returns text
language plpgsql
as $function$
begin
    raise exception '%', p_message
        using errcode = p_state;
end;
$function$;
