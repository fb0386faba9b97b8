-- SPDX-License-Identifier: MIT
-- A gateway that is broken on purpose, and only in a test's database: it takes messages beyond an inbox's
-- limit, and hands them out before their delay has ended, after they have expired, the least urgent first, and
-- for ever where they end their recipient's connection.
do $$
declare
  v_change record;
  v_source text;
begin
  for v_change in
    select *
    from (
      values
        ('inbox_arrive', 'begin', 'begin return true;'),
        ('inbox_claim', 'and i.due_at <= greatest(v_now, i.accepted_at)', ''),
        ('inbox_claim', 'and i.expires_at > v_now', ''),
        ('message_review', 'v_inbox.expires_at <= v_now', 'v_inbox.expires_at + 3000 <= v_now'),
        ('inbox_claim', 'order by i.rank', 'order by i.priority desc, i.inbox_seq'),
        ('inbox_release', 'i.attempt >= i.max_attempts', 'false')
    ) as c (name, line, replacement)
  loop
    v_source := pg_get_functiondef(('openclaw.' || v_change.name)::regproc);
    if position(v_change.line in v_source) = 0 then
      raise exception '% has no line %: this variant is out of date', v_change.name, v_change.line;
    end if;
    execute replace(v_source, v_change.line, v_change.replacement);
  end loop;
end
$$;
