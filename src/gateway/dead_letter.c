/* SPDX-License-Identifier: MIT */
#include "gateway/dead_letter.h"

#include "base/uuid.h"
#include "gateway/inbox.h"

bool dead_letter_id_valid(struct text id)
{
    return id.len > 0 && id.len <= MESSAGE_ID_MAX && utf8_valid(id);
}

/* Parameters all, recipient, sender: what the principal may see. */
static void add_view(struct db_call *call, const struct principal *principal)
{
    struct text self = text_of(principal->id);

    db_add_bool(call, principal_may(principal, SCOPE_OPERATOR));
    db_add_text(call, principal_may(principal, SCOPE_INBOX) ? self : TEXT_NONE);
    db_add_text(call, principal_may(principal, SCOPE_SEND) ? self : TEXT_NONE);
}

/* ---- looking ------------------------------------------------------------------------------- */

void dead_letter_list_call(struct db_call *call, struct arena *arena,
                           const struct principal *principal, struct text inbox, int64_t before,
                           int64_t limit)
{
    db_call_init(call, arena, STATEMENT_DEAD_LETTER_LIST);
    add_view(call, principal);
    db_add_text(call, inbox);
    db_add_null(call);
    if (before > 0)
        db_add_int(call, before);
    else
        db_add_null(call);
    db_add_int(call, limit);
}

void dead_letter_get_call(struct db_call *call, struct arena *arena,
                          const struct principal *principal, struct text id)
{
    db_call_init(call, arena, STATEMENT_DEAD_LETTER_LIST);
    add_view(call, principal);
    db_add_null(call);
    db_add_text(call, id);
    db_add_null(call);
    db_add_int(call, 1);
}

enum error dead_letter_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                              struct dead_letter **ret_letters, size_t *ret_count)
{
    size_t count = db_rows_count(rows);
    struct dead_letter *letters = arena_array(arena, count ? count : 1, sizeof *letters);
    enum error error;

    for (size_t row = 0; row < count; row++) {
        struct dead_letter *letter = &letters[row];

        letter->id = db_text(rows, row, 0);
        letter->message_id = db_text(rows, row, 1);
        letter->inbox = db_text(rows, row, 2);
        letter->inbox_seq = db_int(rows, row, 3);
        letter->from = db_text(rows, row, 4);
        letter->workflow_id = db_text(rows, row, 5);
        letter->attempts = db_int(rows, row, 6);
        letter->max_attempts = db_int(rows, row, 7);
        letter->reason = db_text(rows, row, 8);
        letter->accepted_at = db_int(rows, row, 9);
        letter->dead_at = db_int(rows, row, 10);
        letter->last_attempt_at = db_int_or(rows, row, 11, 0);
        if (!db_is_null(rows, row, 13)) {
            struct delivery content = {.from = letter->from};

            delivery_read_message(arena, letter->inbox, db_text(rows, row, 12),
                                  db_text(rows, row, 13), &content);
            letter->content = content.content;
            letter->metadata = content.metadata;
            letter->session_key = content.session_key;
        }
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    *ret_letters = letters;
    *ret_count = count;
    return OK;
}

struct document *dead_letter_document(struct arena *arena, const struct dead_letter *letter)
{
    struct document *document = document_object(arena);

    document_put_text(document, "id", letter->id);
    document_put_text(document, "messageId", letter->message_id);
    document_put(document, "workflowUuid", document_from_text(arena, letter->workflow_id));
    document_put_text(document, "inbox", letter->inbox);
    document_put_int(document, "inboxSeq", letter->inbox_seq);
    document_put_text(document, "from", letter->from);
    document_put_int(document, "attempts", letter->attempts);
    document_put_int(document, "maxAttempts", letter->max_attempts);
    document_put(document, "reason", document_from_text(arena, letter->reason));
    document_put_int(document, "enqueuedAt", letter->accepted_at);
    document_put_int(document, "deadAt", letter->dead_at);
    if (letter->last_attempt_at)
        document_put_int(document, "lastAttemptAt", letter->last_attempt_at);
    if (letter->content) {
        document_put_text(document, "sessionKey", letter->session_key);
        document_put(document, "content", document_copy(arena, letter->content));
        document_put(document, "metadata",
                     letter->metadata ? document_copy(arena, letter->metadata)
                                      : document_object(arena));
    }
    return document;
}

/* ---- another run -----------------------------------------------------------------------------
 */

struct text *dead_letter_forks(struct arena *arena, size_t count)
{
    struct text *forks = arena_array(arena, count ? count : 1, sizeof *forks);

    for (size_t i = 0; i < count; i++) {
        char uuid[UUID_SIZE];

        uuid_v7(uuid);
        forks[i] = arena_text(arena, text_of(uuid));
    }
    return forks;
}

void dead_letter_redrive_call(struct db_call *call, struct arena *arena,
                              const struct engine *engine, const struct principal *principal,
                              const struct text *ids, const struct text *forks, size_t count)
{
    db_call_init(call, arena, STATEMENT_DEAD_LETTER_REDRIVE);
    db_add_string(call, engine->options->app_name);
    db_add_string(call, engine->options->app_version);
    db_add_int(call, engine->options->inbox_limit);
    db_add_string(call, principal->id);
    add_view(call, principal);
    db_add_texts(call, ids, count);
    db_add_texts(call, forks, count);
}

static enum redrive_outcome outcome_of(struct text name)
{
    return text_is(name, "redriven") ? REDRIVE_DONE
           : text_is(name, "live")   ? REDRIVE_LIVE
           : text_is(name, "full")   ? REDRIVE_FULL
                                     : REDRIVE_UNKNOWN;
}

enum error dead_letter_redrive_result(const struct engine *engine, struct arena *arena,
                                      struct db_rows *rows, struct failure *failure,
                                      struct redriven **ret_redriven, size_t *ret_count)
{
    size_t count = db_rows_count(rows);
    struct redriven *redriven = arena_array(arena, count ? count : 1, sizeof *redriven);
    enum error error;

    for (size_t row = 0; row < count; row++) {
        size_t bell_count;
        struct text *bells = db_texts(rows, row, 7, &bell_count);

        redriven[row].id = db_text(rows, row, 0);
        redriven[row].outcome = outcome_of(db_text(rows, row, 1));
        redriven[row].message_id = db_text(rows, row, 2);
        redriven[row].inbox = db_text(rows, row, 3);
        redriven[row].workflow_id = db_text(rows, row, 5);
        redriven[row].expires_at = db_int_or(rows, row, 6, 0);
        engine_ring(engine, bells, bell_count);
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    *ret_redriven = redriven;
    *ret_count = count;
    return OK;
}

struct document *redriven_document(struct arena *arena, const struct redriven *redriven)
{
    struct document *document = document_object(arena);

    document_put_text(document, "id", redriven->id);
    document_put_text(document, "messageId", redriven->message_id);
    document_put_text(document, "workflowUuid", redriven->workflow_id);
    document_put_text(document, "inbox", redriven->inbox);
    document_put_string(document, "status", "queued");
    document_put_bool(document, "redriven", redriven->outcome == REDRIVE_DONE);
    if (redriven->expires_at)
        document_put_int(document, "expiresAt", redriven->expires_at);
    return document;
}

void dead_letter_purge_call(struct db_call *call, struct arena *arena,
                            const struct principal *principal, const struct text *ids, size_t count)
{
    db_call_init(call, arena, STATEMENT_DEAD_LETTER_PURGE);
    db_add_string(call, principal->id);
    add_view(call, principal);
    db_add_texts(call, ids, count);
}
