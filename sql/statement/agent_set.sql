-- name: agent_set
-- params: text agent, bool sets_name, text name, bool sets_allow, text[] allow
-- rows: optional
-- what is not set stays; allow null: everybody with the scope may write to it
update openclaw.agent
set name = case when $2 then $3 else name end,
  allow_from = case when $4 then $5 else allow_from end,
  version = version + 1,
  updated_at = openclaw.now_ms()
where agent_id = $1
returning agent_id
