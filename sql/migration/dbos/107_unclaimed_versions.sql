-- SPDX-License-Identifier: MIT
create unique index if not exists uq_application_versions_unclaimed_version
  on dbos_system.application_versions (version_name)
  where application_name is null;

update dbos_system.dbos_migrations
   set version = 107;
