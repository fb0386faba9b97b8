-- name: agent_set
-- params: text by, text agent, bool sets_name, text name, bool sets_allow, text[] allow, text status
-- rows: optional
-- what is not set stays; allow null: everybody with the scope may write to it. The bells are of those
-- who receive its messages, and may have to begin again
select c.agent_id, c.bells
from openclaw.agent_change(
  $1,
  $2,
  case when $3 then jsonb_build_object('name', $4) else '{}' end
    || case when $5 then jsonb_build_object('allowFrom', $6) else '{}' end
    || case when $7 is not null then jsonb_build_object('status', $7) else '{}' end,
  null
) c
