-- SPDX-License-Identifier: MIT
create unique index if not exists uq_application_versions_owner_version
  on dbos_system.application_versions (application_name, version_name)
  where application_name is not null;

update dbos_system.dbos_migrations
   set version = 106;
