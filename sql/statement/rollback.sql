-- name: rollback
-- params: none
-- rows: none
-- effect: none
rollback
