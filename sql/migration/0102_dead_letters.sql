-- Dead letters: why a message did not reach its end otherwise, and how to find it again.
alter table openclaw.inbox add column reason text;

create index inbox_dead on openclaw.inbox (inbox_seq)
  where state = 'dead';
create index inbox_dead_message on openclaw.inbox (message_uuid)
  where state = 'dead';
