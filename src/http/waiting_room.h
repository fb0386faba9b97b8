/* SPDX-License-Identifier: MIT
 *
 * Where requests wait for something to happen in the database: a message to be settled, an inbox
 * to have something. A waiting request holds its thread, no connection, no transaction. One thread
 * of the process looks for all of them with one call, when the process's doorbell rings and by
 * itself, with jitter, at least once a second. That it is rung for inboxes: watch.h.
 */
#ifndef OPENCLAW_HTTP_WAITING_ROOM_H
#define OPENCLAW_HTTP_WAITING_ROOM_H

#include "gateway/message.h"
#include "http/server.h"

#define WAIT_MAX_S 60

struct waiting_room;

struct waiting_room *waiting_room_new(struct http_server *server);
/* Starts the looking thread, which also registers this process as an executor. */
void waiting_room_start(struct waiting_room *room);
/* Every wait, present and future, ends at once, with the truth so far. */
void waiting_room_close(struct waiting_room *room);

/* A place, before anything is done that is to be waited for: at most half of the threads wait, and
 * for one principal at most three quarters of these. Who gets one leaves it again.
 * *ret_mark is for waiting_room_message(). Errors: OVERLOADED. */
enum error waiting_room_enter(struct waiting_room *room, const struct principal *principal,
                              struct failure *failure, uint64_t *ret_mark) MUST_CHECK;
void waiting_room_leave(struct waiting_room *room, const struct principal *principal);

/* Waits until the message of *receipt is settled, the time is up or whoever asked has gone;
 * *receipt is then the newest that is known. True: it is settled. `mark` is of before the message
 * was sent, so that a bell that rang since is not lost. */
bool waiting_room_message(struct waiting_room *room, const struct http_request *request,
                          uint64_t mark, int64_t deadline_ms, struct message_receipt *receipt);
/* Waits until the agent's inbox may have something to claim. False: it has not, and there is nobody
 * to wait any longer. `mark` is waiting_room_mark() of before the inbox was found empty. */
bool waiting_room_inbox(struct waiting_room *room, const struct http_request *request,
                        struct text agent, uint64_t mark, int64_t deadline_ms);
uint64_t waiting_room_mark(struct waiting_room *room);

bool message_is_settled(const struct message_receipt *receipt);

#endif
