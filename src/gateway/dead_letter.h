/* SPDX-License-Identifier: MIT
 *
 * Dead letters: messages that were delivered too often, or refused for good. An operator sees all,
 * an agent those of its own inbox (scope `inbox`) and those it sent (scope `send`).
 *
 * A dead letter's id is the message's in the mailbox: the id of the workflow under which it was
 * accepted. It does not change by a redrive.
 */
#ifndef OPENCLAW_GATEWAY_DEAD_LETTER_H
#define OPENCLAW_GATEWAY_DEAD_LETTER_H

#include <stdint.h>

#include "base/document.h"
#include "durable/engine.h"
#include "gateway/principal.h"

#define DEAD_LETTER_LIST_MAX  200                        /* in one answer */
#define DEAD_LETTER_BATCH_MAX 200                        /* ids in one request */
#define DEAD_LETTER_SCOPES    (SCOPE_SEND | SCOPE_INBOX) /* by each of them one may see some */

bool dead_letter_id_valid(struct text id);
struct dead_letter {
    struct text id, message_id, workflow_id; /* workflow_id absent: sent by a DBOS client */
    struct text inbox, from, reason;
    int64_t inbox_seq, attempts, max_attempts;
    int64_t accepted_at, dead_at, last_attempt_at; /* 0: never handed over */
    struct document *content, *metadata;           /* only where one was asked for by its id */
    struct text session_key;
};
/* The newest first; of one inbox, or all where absent; before: the inbox_seq of the last one of the
 * page before, or 0. */
void dead_letter_list_call(struct db_call *call, struct arena *arena,
                           const struct principal *principal, struct text inbox, int64_t before,
                           int64_t limit);
/* One, with its content; no row: there is none that the principal may see. */
void dead_letter_get_call(struct db_call *call, struct arena *arena,
                          const struct principal *principal, struct text id);
/* Of both; texts live in the rows' arena. */
enum error dead_letter_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                              struct dead_letter **ret_letters, size_t *ret_count) MUST_CHECK;
struct document *dead_letter_document(struct arena *arena, const struct dead_letter *letter);

enum redrive_outcome {
    REDRIVE_DONE,
    REDRIVE_LIVE,   /* it is no dead letter any more: on its way */
    REDRIVE_FULL,   /* its inbox has no room; ask again later */
    REDRIVE_UNKNOWN /* there is none that the principal may see */
};
struct redriven {
    struct text id, message_id, inbox;
    struct text workflow_id; /* which carries it now */
    enum redrive_outcome outcome;
    int64_t expires_at;
};
/* Ids for the workflows that will carry them; to be made once, also where the call is made twice.
 */
struct text *dead_letter_forks(struct arena *arena, size_t count);
void dead_letter_redrive_call(struct db_call *call, struct arena *arena,
                              const struct engine *engine, const struct principal *principal,
                              const struct text *ids, const struct text *forks, size_t count);
/* In the order of the ids. Rings the recipients. */
enum error dead_letter_redrive_result(const struct engine *engine, struct arena *arena,
                                      struct db_rows *rows, struct failure *failure,
                                      struct redriven **ret_redriven, size_t *ret_count) MUST_CHECK;
struct document *redriven_document(struct arena *arena, const struct redriven *redriven);

/* A row for each that was deleted: its id. */
void dead_letter_purge_call(struct db_call *call, struct arena *arena,
                            const struct principal *principal, const struct text *ids,
                            size_t count);

#endif
