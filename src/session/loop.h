/* SPDX-License-Identifier: MIT
 *
 * The process around a session: descriptors, poll, signals, the doorbell, the connection.
 */
#ifndef OPENCLAW_SESSION_LOOP_H
#define OPENCLAW_SESSION_LOOP_H

#include "db/db.h"
#include "session/session.h"

/* Feeds the session from standard input until it is over. Errors: IO (no signals, no pipes). */
enum error loop_run(struct session *session, const struct engine *engine, struct db *db,
                    struct failure *failure) MUST_CHECK;

#endif
