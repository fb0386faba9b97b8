-- name: agent_rename
-- params: text, text
-- rows: one
-- the name for people; the id never changes
update openclaw.agent
set name = $2,
  version = version + 1,
  updated_at = openclaw.now_ms()
where agent_id = $1
returning agent_id
