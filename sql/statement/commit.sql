-- name: commit
-- params: none
-- rows: none
-- effect: none
-- (the calls of the transaction say whether it has one)
commit
