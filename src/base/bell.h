/* SPDX-License-Identifier: MIT
 *
 * Doorbells: one datagram to a waiter's Unix socket, "look". No answer, no promise: a bell that is
 * lost costs a delay, never a message (design.md, section 7). It is empty; but one to a session
 * may hand over what it would have to look for (gateway/hand_over.h).
 *
 * The socket of the executor E is RUNTIME_DIR/E.bell; RUNTIME_DIR must be short enough for the
 * 107 bytes of a socket's path.
 */
#ifndef OPENCLAW_BASE_BELL_H
#define OPENCLAW_BASE_BELL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

struct bell {
    int fd; /* non-blocking, for poll(2); -1: none, the waiter looks by itself */
    char path[108];
};

/* Makes the directory (0700) where it is missing. On an error bell->fd is -1, so that the waiter
 * can go on without. Errors: CONFIG (the path is too long), IO. */
enum error bell_open(struct bell *bell, const char *runtime_dir, const char *executor_id,
                     struct failure *failure) MUST_CHECK;
void bell_drain(struct bell *bell); /* takes all rings; returns when there are none */
/* Takes one, and what it brought, cut to `size` bytes, into `bytes`. False: there is none. */
bool bell_take(struct bell *bell, char *bytes, size_t size, struct text *ret_brought);
void bell_close(struct bell *bell); /* removes the socket */

/* Rings; whatever goes wrong is not the ringer's concern. */
void bell_ring(const char *runtime_dir, const char *executor_id);
/* False: nobody listens there; a full queue is somebody who will look soon. */
bool bell_bring(const char *runtime_dir, const char *executor_id, struct text what);

/* Removes the sockets of those who died without: nobody listens on them any more, and they are
 * older than BELL_LEFT_AGE_S. Returns how many. What it may not look at stays. */
#define BELL_LEFT_AGE_S 60
size_t bell_sweep(const char *runtime_dir);

#endif
