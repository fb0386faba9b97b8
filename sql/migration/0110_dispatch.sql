-- The messages that a DBOS application has as workflows: which delivery of a message is which workflow.
-- A row lives as long as its delivery; what becomes of the agent's settings meanwhile does not matter to it.
create table openclaw.dispatch (
  agent_id text not null,
  inbox_seq bigint not null,
  delivery_id text not null,
  workflow_uuid text not null,
  primary key (agent_id, inbox_seq)
);

insert into openclaw.dispatch (agent_id, inbox_seq, delivery_id, workflow_uuid)
select i.agent_id, i.inbox_seq, i.delivery_id, i.message_uuid || '/dbos'
from openclaw.inbox i
where i.state = 'leased'
  and i.holder = 'dbos';
