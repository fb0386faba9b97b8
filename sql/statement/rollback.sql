-- name: rollback
-- params: none
-- rows: none
rollback
