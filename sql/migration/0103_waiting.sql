-- What a parked workflow waits for besides its time, so that the sweeper finds it when that is there.
-- A row is never changed: who parks again makes a new one. So who deletes the row of a workflow
-- that went on never deletes that of its next wait.
create table openclaw.waiting (
  waiting_id bigint generated always as identity primary key,
  workflow_uuid text not null,
  kind text not null
    check (kind in ('DBOS.recv', 'DBOS.getEvent', 'DBOS.getResult')),
  -- the workflow whose message (its own id), event or result it is
  target text not null,
  -- topic or key
  key text not null
);

create index waiting_workflow on openclaw.waiting (workflow_uuid);
