-- Workflows that somebody ended while they carried a message, for the sweeper to withdraw it.
create table openclaw.ended_carrier (
  workflow_uuid text primary key
);
