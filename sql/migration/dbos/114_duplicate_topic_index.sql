-- SPDX-License-Identifier: MIT
-- The same columns as idx_workflow_topic.
drop index if exists dbos_system.idx_notifications;

update dbos_system.dbos_migrations
   set version = 114;
