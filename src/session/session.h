/* SPDX-License-Identifier: MIT
 *
 * One WebSocket connection: what it is fed (bytes, the clock, bells, answers of the database) and
 * what it gives back (bytes, calls for the database). It knows nothing of its process: no
 * descriptor, no signal, no environment; loop.c has those. So one process could serve many.
 *
 * `now` is clock_ms() everywhere. protocol.md is what it speaks.
 */
#ifndef OPENCLAW_SESSION_SESSION_H
#define OPENCLAW_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "durable/engine.h"

/* What the web server said of the client. Every text may be absent; they live as long as the
 * session. */
struct peer {
    struct text authorization; /* the header's value */
    struct text subprotocols;  /* Sec-WebSocket-Protocol */
    struct text origin;
    struct text query;       /* without the question mark */
    struct text remote;      /* address, for logs */
    struct text traceparent; /* the header's value, as sent */
    struct text request_id;  /* X-Request-Id, or absent where it is none */
};

struct session;

/* The first output is there at once: connect.challenge. `engine` and `peer` outlive the session. */
struct session *session_new(const struct engine *engine, const struct peer *peer, int64_t now)
    __attribute__((returns_nonnull));
void session_free(struct session *session); /* NULL is allowed */

/* ---- the client --------------------------------------------------------------------------- */

/* False: what the client sends is to be left where it is for now. */
bool session_wants_input(const struct session *session);
void session_input(struct session *session, struct text bytes, int64_t now);
void session_left(struct session *session, int64_t now); /* the client is gone */
/* To be written to the client; session_written() says how much was. */
struct text session_output(const struct session *session);
void session_written(struct session *session, size_t count, int64_t now);

/* ---- the database ------------------------------------------------------------------------- */

/* The call to start now, or NULL; it lives until session_answer(). Not to be asked while one runs.
 */
const struct db_call *session_call(struct session *session, int64_t now);
void session_answer(struct session *session, enum error error, const struct failure *failure,
                    struct db_rows *rows, int64_t now);

/* ---- the process -------------------------------------------------------------------------- */

/* It was stopped for a while and goes on: others may have taken it for dead. */
void session_continued(struct session *session, int64_t now);
bool session_wants_bell(
    const struct session *session); /* it is, or is about to be, known to others */
void session_bell(struct session *session, int64_t now);
/* What a bell brought. False: nothing that is of use; then it was a bell like others. */
bool session_hand_over(struct session *session, struct text datagram, int64_t now);
/* Says goodbye in-band, gives back what it holds, then is over. */
void session_stop(struct session *session, const char *reason, int64_t now);
/* When session_advance() is wanted at the latest; INT64_MAX: not by time. */
int64_t session_deadline(const struct session *session);
void session_advance(struct session *session, int64_t now);
/* Nothing is left to do; what could not be written is lost with the connection. */
bool session_over(const struct session *session);

#endif
