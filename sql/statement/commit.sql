-- name: commit
-- params: none
-- rows: none
commit
