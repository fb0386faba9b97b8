-- What an inbox holds at most, without counting it: `base` and the number of arrivals anywhere until now.
-- Every message takes a number before it is stored, so what was counted once, less the number of that
-- moment, plus the number of now, is never too little: nobody has to write anything to keep it true.
create sequence openclaw.inbox_arrival;

create table openclaw.inbox_bound (
  agent_id text primary key
    references openclaw.agent on delete cascade,
  base bigint not null
) with (fillfactor = 50);
