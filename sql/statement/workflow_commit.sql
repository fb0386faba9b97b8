-- name: workflow_commit
-- params: text, text, text, bool, bool, int8, text[], text[], bool[], text[], text[], text[], text[], int8[], text[], text[], int4[], int4[], text[], text[], text[], text[], int8[], int8[], int4[], int4[], text[], text[], text[], text[], text[], int4[], text[], int8[], int4[], int4[], text[], text[], text[], text
-- rows: any
-- merges: ======++++++++++#+++++++#+++++++++#+++?=
select ord, outcome, reason, status, output, error, inbox_seq, now_ms, bells, hand_over
from openclaw.workflow_commit(
  $1, $2, $3, $4, $5, $6,
  $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
  $17, $18, $19, $20, $21, $22, $23, $24,
  $25, $26, $27, $28, $29, $30, $31, $32, $33, $34,
  $35, $36, $37, $38, $39, $40
)
