-- Connected sessions, the latest first: hello-ok names a few of them, however many there are.
create index executor_connected on openclaw.executor (started_at)
  where ended_at is null and kind = 'session';
