-- Where a receiver can be handed its own messages as they are accepted; null: it claims them.
alter table openclaw.subscription
  add column host text;
