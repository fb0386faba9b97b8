-- SPDX-License-Identifier: MIT
--
-- What we change in the DBOS schema on purpose, whoever created it. May be run at any time, any
-- number of times; each difference has its entry in the allow-list of tests/migration/dbos-schema.t.

-- NOTIFY takes a database-wide lock at commit: inserts into one queue 24 000 a second, with the
-- trigger 5 000. Nobody listens for our mailboxes on this channel (recv runs in the SDKs' own
-- workflows), so they do without; the doorbell is ours.
create or replace trigger dbos_notifications_trigger
  after insert on dbos_system.notifications
  for each row
  when (new.destination_uuid not like 'agent:%')
  execute function dbos_system.notifications_function();

-- A message is read once and marked consumed. Room for that on its page makes the update HOT: of
-- 20 000, each marked 500 messages later, 95 % at fillfactor 100 and all at 90.
-- workflow_status gets no fillfactor: every transition changes a column that an index names, so
-- none of its updates is HOT (measured: 0 of 39 500, at 70 as at 100). It is small and all dead
-- rows soon; vacuum has to come after thousands of transitions, not after a fifth of the table.
alter table dbos_system.notifications set (
  fillfactor = 90,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000
);
alter table dbos_system.workflow_status set (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.02,
  autovacuum_analyze_threshold = 1000
);
