/* SPDX-License-Identifier: MIT
 *
 * A call and its answer as bytes, between a process and the relay of its host: one call at a time
 * on a stream socket, RUNTIME_DIR/relay.sock. Both ends are of one build and on one machine, so
 * numbers are as the processor has them; who is of another build, or configured for another
 * database, is told so and calls the database himself.
 *
 *   call     length, build, statement, count, then each value
 *   answer   length, kind, and for ANSWER_ROWS rows, columns, the columns' types, then each value
 * row by row; for ANSWER_FAILURE a struct failure; for the others nothing value    length and bytes
 * and a NUL, or WIRE_NULL
 */
#ifndef OPENCLAW_DB_WIRE_H
#define OPENCLAW_DB_WIRE_H

#include <sys/un.h>

#include "base/buffer.h"
#include "db/db.h"

#define RELAY_ALIVE_MS 500 /* so often a caller who waits hears that the relay lives */

#define WIRE_CALL_MAX                                                                              \
    ((size_t)512 * 1024 * 1024) /* bytes; far above what the limits allow to be said */

enum answer_kind {
    ANSWER_ALIVE, /* the call is not done yet; another answer follows */
    ANSWER_ROWS,
    ANSWER_FAILURE,
    ANSWER_OTHER_BUILD, /* nothing was done, and will not be */
    ANSWER_BUSY,        /* nothing was done: there are too many, or others hold it up */
    ANSWER_DIRECT /* another answer follows; then call directly, until this socket is closed */
};

/* Rows of an answer: all of them where `rows` is NULL, else those, in that order, without their
 * first `skip` columns; `base` is taken from the first of what is left. */
struct rows_part {
    const size_t *rows;
    size_t count;
    unsigned skip;
    size_t base;
};

/* Where the relay listens. False: RUNTIME_DIR is too long. */
bool relay_address(const char *runtime_dir, struct sockaddr_un *ret_address);

void wire_put_call(struct buffer *out, const struct db_call *call);
void wire_put_rows(struct buffer *out, const struct db_rows *rows, const struct rows_part *part);
void wire_put_failure(struct buffer *out, const struct failure *failure);
void wire_put_kind(struct buffer *out, enum answer_kind kind);

/* The bytes of the first frame, its length included; 0: they are not all there yet. */
size_t wire_frame(struct text bytes);
/* The length that the frame announces; 0: not even that is there. */
size_t wire_announced(struct text bytes);

enum wire_fault { WIRE_OK, WIRE_OTHER_BUILD, WIRE_BROKEN };
/* The call's values point into the frame. */
enum wire_fault wire_get_call(struct text frame, struct arena *arena, struct db_call *ret_call);

enum answer_kind wire_get_kind(struct text frame); /* ANSWER_OTHER_BUILD where it is none */
/* A copy, in the call's arena. NULL: broken. */
struct db_rows *wire_get_rows(struct text frame, const struct db_call *call);
bool wire_get_failure(struct text frame, struct failure *ret_failure);

/* Values by themselves, for a datagram to a process of this build: absent ones stay absent. Reading
 * gives texts in the frame; false: it is not `count` values, or of another build. */
void wire_put_values(struct buffer *out, const struct text *values, size_t count);
bool wire_get_values(struct text frame, struct text *ret_values, size_t count);

#endif
