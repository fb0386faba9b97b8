-- name: doctor_transactions
-- params: none
-- rows: one
-- effect: none
-- For gatewayctl doctor: the oldest transaction.
--   0 pid       int4  null: there is none that can be seen
--   1 age_ms    int8
--   2 sees_all  bool  false: those of other roles are hidden
--   3 owner     text  the role that would have to see them
select o.pid, o.age_ms, o.sees_all, o.owner
from openclaw.oldest_transaction() o
