/* SPDX-License-Identifier: MIT
 *
 * What the server says by itself: notifications, on a connection that has asked for them.
 */
#include <string.h>

#include "db/internal.h"

int db_listen_fd(const struct db *db)
{
    return db->phase == PHASE_IDLE && db->conn ? PQsocket(db->conn) : -1;
}

enum error db_listen_take(struct db *db, struct arena *arena, struct failure *failure,
                          struct text *ret_payload)
{
    PGnotify *notification;

    *ret_payload = TEXT_NONE;
    if (db->phase != PHASE_IDLE)
        return OK;
    if (!db->conn)
        return failure_set(failure, ERR_UNAVAILABLE, "the connection that listens is closed");
    if (!PQconsumeInput(db->conn) || PQstatus(db->conn) != CONNECTION_OK) {
        enum error error = outcome_of_loss(failure, "listen", db->conn, NULL, false);
        db_close(db);
        return error;
    }
    notification = PQnotifies(db->conn);
    if (notification) {
        *ret_payload = arena_text(arena, text_of(notification->extra));
        PQfreemem(notification);
    }
    return OK;
}
