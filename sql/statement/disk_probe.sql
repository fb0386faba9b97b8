-- name: disk_probe
-- params: none
-- rows: one
-- effect: none
-- Fails with 53100 where the database's disk has no 8 MiB left.
select openclaw.disk_probe()
