/* SPDX-License-Identifier: MIT
 *
 * Who speaks, and what it may do. Both come from the database row of the token and from nowhere
 * else; a client may ask for less, never for more.
 */
#ifndef OPENCLAW_GATEWAY_PRINCIPAL_H
#define OPENCLAW_GATEWAY_PRINCIPAL_H

#include <stdbool.h>

#include "base/text.h"
#include "db/db.h"
#include "workflow/agent_rules.h"

enum scope {
    SCOPE_SEND = 1 << 0,            /* "send" */
    SCOPE_INBOX = 1 << 1,           /* "inbox": its own */
    SCOPE_WORKFLOWS_READ = 1 << 2,  /* "workflows:read": those it started; with operator all */
    SCOPE_WORKFLOWS_WRITE = 1 << 3, /* "workflows:write" */
    SCOPE_AGENTS_WRITE = 1 << 4,    /* "agents:write" */
    SCOPE_OPERATOR = 1 << 5,        /* "operator": everything, of everybody */
    SCOPE_METRICS = 1 << 6          /* "metrics": GET /metrics */
};
#define SCOPE_ALL ((SCOPE_METRICS << 1) - 1)

#define TICKET_LIFE_MS 30000
#define TICKETS_MAX    100 /* of one token, at a time */

struct principal {
    char id[AGENT_ID_MAX + 1];
    unsigned scopes; /* of enum scope */
    char credential_id[64];
    int64_t expires_in_ms; /* of the token, when it was looked at; INT64_MAX: never */
    bool use_is_news;      /* when it was used last is to be noted: principal_used_call() */
};

/* Looks a token up by its SHA-256. Result: OK, or ERR_UNAUTHORIZED for unknown, expired and
 * revoked alike; of one that has ended *ret_principal then has the id, for the log, and no scope.
 */
void principal_check_call(struct db_call *call, struct arena *arena, struct text token);
/* The same of a token that was good before, by its credential_id. */
void principal_recheck_call(struct db_call *call, struct arena *arena, const char *credential_id);
/* The same of a ticket, which is used up by it: only this executor may ask again. */
void principal_redeem_call(struct db_call *call, struct arena *arena, struct text ticket,
                           const char *executor_id);
/* Makes a ticket for one WebSocket in the name of a token, with TOKEN_SIZE bytes in `ticket`; the
 * row has when it expires. ERR_RATE_LIMITED: the token has TICKETS_MAX. */
void principal_ticket_call(struct db_call *call, struct arena *arena, struct text credential_id,
                           unsigned granted, char *ticket);
/* Notes that the token is in use. To be called where use_is_news says so, once a minute at most;
 * what becomes of it is no matter, the next look tells again. */
void principal_used_call(struct db_call *call, struct arena *arena, const char *credential_id);
enum error principal_check_result(struct db_rows *rows, struct failure *failure,
                                  struct principal *ret_principal) MUST_CHECK;
/* AUTH_MODE=none: everybody is the principal `id` ("operator" where absent) with every scope. */
void principal_anybody(struct text id, struct principal *ret_principal);

/* With any of these, of enum scope; operator may all. */
bool principal_may(const struct principal *principal, unsigned any_of);
/* Its own inbox with SCOPE_INBOX, any with SCOPE_OPERATOR. */
bool principal_may_read_inbox(const struct principal *principal, struct text agent_id);
/* Knows of everybody: who manages agents. All others know of themselves and of the agents that they
 * may write to. */
bool principal_sees_all(const struct principal *principal);
/* The two parameters by which a statement tells: the viewer (null: sees all), and whether it may
 * write at all. */
void principal_add_viewer(struct db_call *call, const struct principal *principal);

const char *scope_name(enum scope scope);
unsigned scope_from_name(struct text name); /* 0: no such scope */
/* The names of scopes, *ret_count of them. */
struct text *scope_names(struct arena *arena, unsigned scopes, size_t *ret_count);
const char *scopes_phrase(struct arena *arena, unsigned any_of); /* "send or inbox" */
/* Scopes separated by spaces or commas. False: there is an unknown one, or none at all. */
bool scopes_parse(struct text list, unsigned *ret_scopes);

/* "Bearer TOKEN" (RFC 6750), with one space or more (RFC 9110, 11.4); absent where it is not that,
 * or too long. */
struct text bearer_token(struct text authorization);
/* Is a browser of this Origin allowed (ALLOWED_ORIGINS, compared whole)? Absent: not a browser,
 * yes. */
bool origin_allowed(const char *allowed_origins, struct text origin);

#endif
