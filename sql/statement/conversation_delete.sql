-- name: conversation_delete
-- params: text principal, text conversation
-- rows: optional
delete from openclaw.conversation
where principal_id = $1
  and conversation_id = $2
returning conversation_id
