-- What access needs besides tokens: tokens that may do less than their principal, tickets for
-- WebSockets, and changes of the settings on record.

-- null: all that the principal may
alter table openclaw.credential add column scopes text[];

-- A ticket stands for a token in the URL of a WebSocket, once and for half a minute. Who has redeemed
-- it may ask again, because its answer may have been lost.
create table openclaw.ticket (
  ticket_sha256 text primary key
    check (ticket_sha256 ~ '^[0-9a-f]{64}$'),
  credential_id text not null
    references openclaw.credential (credential_id) on delete cascade,
  scopes text[] not null,
  expires_at bigint not null,
  redeemed_by text
);

create index ticket_expires on openclaw.ticket (expires_at);
create index ticket_credential on openclaw.ticket (credential_id);
