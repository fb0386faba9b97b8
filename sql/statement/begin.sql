-- name: begin
-- params: none
-- rows: none
-- effect: none
begin isolation level read committed
