-- SPDX-License-Identifier: MIT
-- A gateway that is broken on purpose, and only in a test's database: a confirmation settles the message
-- whichever delivery it names, so also one whose lease has ended and that somebody else has by now.
do $$
declare
  v_change text[];
  v_source text;
begin
  foreach v_change slice 1 in array array[
    ['message_settle', 'else i.state = ''leased'' and i.delivery_id = g.delivery', 'else i.state in (''ready'', ''leased'')'],
    ['inbox_ack', E'and i.delivery_id = g.delivery\n      and i.state = ''leased''', 'and i.state in (''ready'', ''leased'')']
  ] loop
    v_source := pg_get_functiondef(format('openclaw.%s', v_change[1])::regproc);
    if position(v_change[2] in v_source) = 0 then
      raise exception '% has no %: this variant is out of date', v_change[1], v_change[2];
    end if;
    execute replace(v_source, v_change[2], v_change[3]);
  end loop;
end
$$;
