-- name: server_facts
-- params: none
-- rows: one
-- effect: none
-- For gatewayctl doctor: what kind of server this is.
--   0 version       int4  as 150020
--   1 in_recovery   bool  a standby, which takes no writes
--   2 read_only     bool  default_transaction_read_only is on
--   3 role          text
--   4 is_superuser  bool
--   5 database      text
--   6 encoding      text  must be UTF8
--   7 now_ms        int8  the database's clock, milliseconds since 1970
select
    pg_catalog.current_setting('server_version_num')::int4,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('default_transaction_read_only')::bool,
    current_user::text,
    pg_catalog.current_setting('is_superuser')::bool,
    pg_catalog.current_database()::text,
    pg_catalog.current_setting('server_encoding'),
    (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::int8
