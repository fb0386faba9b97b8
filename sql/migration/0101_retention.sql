-- What retention looks for: messages by the time at which they were settled (due_at, once they are).
create index inbox_settled on openclaw.inbox (due_at)
  where state in ('acked', 'dead', 'expired', 'withdrawn');
