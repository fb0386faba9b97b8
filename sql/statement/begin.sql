-- name: begin
-- params: none
-- rows: none
begin isolation level read committed
