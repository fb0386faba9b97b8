-- What the gateway remembers of each row of workflow_schedules: when it is due next.
create table openclaw.schedule (
  schedule_name text primary key,
  -- of what next_at was computed; where the row says something else now, it is computed anew
  definition text not null,
  next_at bigint,
  -- not looked at before; and why, where it cannot be fired
  look_at bigint not null,
  fault text
);
