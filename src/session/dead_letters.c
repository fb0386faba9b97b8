/* SPDX-License-Identifier: MIT
 *
 * inbox.dead.list, inbox.dead.show, inbox.redrive, inbox.purge. Who sees which:
 * gateway/dead_letter.h.
 */
#include "gateway/dead_letter.h"
#include "session/state.h"

#define DEAD_LIST_DEFAULT 50

struct asked {
    struct text inbox;
    int64_t before, limit;
    struct text *ids, *forks;
    size_t count;
};

static void fail(struct session *session, struct request *request, enum error error,
                 const struct failure *failure)
{
    frame_error(session, request, error, failure);
    request_end(session, request);
}

/* `ids`, or one `id`; */
static struct asked *need_ids(struct session *session, struct request *request)
{
    struct asked *asked = arena_alloc(request->arena, sizeof(*asked));
    struct document *list = document_get(request->params, "ids");
    struct document *one = document_get(request->params, "id");
    bool several = document_kind(list) == DOCUMENT_ARRAY;

    request->state = asked;
    asked->count = several ? document_count(list) : one != NULL;
    if (asked->count == 0 || asked->count > DEAD_LETTER_BATCH_MAX) {
        request_invalid(session, request, "ids is an array of 1 to %d ids, as inbox.dead.list has",
                        DEAD_LETTER_BATCH_MAX);
        return NULL;
    }
    asked->ids = arena_array(request->arena, asked->count, sizeof(*asked->ids));
    for (size_t i = 0; i < asked->count; i++) {
        asked->ids[i] = document_string(several ? document_at(list, i) : one);
        if (!dead_letter_id_valid(asked->ids[i])) {
            request_invalid(session, request, "an id is a string of 1 to %d bytes", MESSAGE_ID_MAX);
            return NULL;
        }
    }
    return asked;
}

/* ---- list and show ---------------------------------------------------------------------------
 */

static bool list_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    dead_letter_list_call(ret_call, operation->arena, &session->principal, asked->inbox,
                          asked->before, asked->limit);
    return true;
}

static void list_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct asked *asked = request->state;
    struct dead_letter *letters = NULL;
    struct document *payload, *list;
    size_t count = 0;

    if (error == OK)
        error = dead_letter_result(operation->arena, rows, failure, &letters, &count);
    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    payload = document_object(request->arena);
    list = document_array(request->arena);
    for (size_t i = 0; i < count; i++)
        document_append(list, dead_letter_document(request->arena, &letters[i]));
    document_put(payload, "deadLetters", list);
    if (count > 0 && (int64_t)count == asked->limit)
        document_put_int(payload, "before", letters[count - 1].inbox_seq);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind list_kind = {"inbox.dead.list", list_call, list_answer, true};

void method_dead_list(struct session *session, struct request *request)
{
    struct asked *asked = arena_alloc(request->arena, sizeof(*asked));

    request->state = asked;
    if (!request_int(session, request, "before", 1, INT64_MAX, 0, &asked->before) ||
        !request_int(session, request, "limit", 1, DEAD_LETTER_LIST_MAX, DEAD_LIST_DEFAULT,
                     &asked->limit))
        return;
    asked->inbox = document_get_string(request->params, "inbox");
    if (asked->inbox.data != NULL && !text_is_agent_id(asked->inbox)) {
        request_invalid(session, request, "inbox is the id of an agent");
        return;
    }
    operation_serve(operation_new(session, &list_kind), request);
}

static bool show_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    dead_letter_get_call(ret_call, operation->arena, &session->principal, asked->ids[0]);
    return true;
}

static void show_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct dead_letter *letters = NULL;
    size_t count = 0;

    if (error == OK)
        error = dead_letter_result(operation->arena, rows, failure, &letters, &count);
    if (error == OK && count == 0)
        error = failure_set(failure, ERR_NOT_FOUND, "there is no such dead letter");
    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    frame_result(session, request, dead_letter_document(request->arena, &letters[0]));
    request_end(session, request);
}

static const struct operation_kind show_kind = {"inbox.dead.show", show_call, show_answer, true};

void method_dead_show(struct session *session, struct request *request)
{
    if (need_ids(session, request) != NULL)
        operation_serve(operation_new(session, &show_kind), request);
}

/* ---- redrive ---------------------------------------------------------------------------------
 */

static bool redrive_call(struct session *session, struct operation *operation,
                         struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    dead_letter_redrive_call(ret_call, operation->arena, session->engine, &session->principal,
                             asked->ids, asked->forks, asked->count);
    return true;
}

static void redrive_answer(struct session *session, struct operation *operation, enum error error,
                           struct failure *failure, struct db_rows *rows)
{
    static const char *const names[] = {"redriven", "live", "full", "unknown"};
    struct request *request = operation->requests;
    struct redriven *redriven = NULL;
    struct document *payload, *lists[4];
    size_t count = 0;

    if (error == OK)
        error = dead_letter_redrive_result(session->engine, operation->arena, rows, failure,
                                           &redriven, &count);
    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    payload = document_object(request->arena);
    for (size_t k = 0; k < 4; k++)
        lists[k] = document_array(request->arena);
    for (size_t i = 0; i < count; i++)
        document_append(lists[redriven[i].outcome],
                        redriven[i].outcome == REDRIVE_DONE
                            ? redriven_document(request->arena, &redriven[i])
                            : document_from_text(request->arena, redriven[i].id));
    for (size_t k = 0; k < 4; k++)
        document_put(payload, names[k], lists[k]);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind redrive_kind = {"inbox.redrive", redrive_call, redrive_answer,
                                                   true};

void method_redrive(struct session *session, struct request *request)
{
    struct asked *asked = need_ids(session, request);

    if (asked == NULL)
        return;
    asked->forks = dead_letter_forks(request->arena, asked->count);
    operation_serve(operation_new(session, &redrive_kind), request);
}

/* ---- purge -----------------------------------------------------------------------------------
 */

static bool purge_call(struct session *session, struct operation *operation,
                       struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    dead_letter_purge_call(ret_call, operation->arena, &session->principal, asked->ids,
                           asked->count);
    return true;
}

static void purge_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct document *purged = document_array(request->arena);

    for (size_t row = 0; error == OK && row < db_rows_count(rows); row++)
        document_append(
            purged,
            document_from_text(request->arena, arena_text(request->arena, db_text(rows, row, 0))));
    if (error == OK)
        error = db_rows_error(rows, failure);
    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    frame_result(session, request, document_put(document_object(request->arena), "purged", purged));
    request_end(session, request);
}

static const struct operation_kind purge_kind = {"inbox.purge", purge_call, purge_answer, true};

void method_purge(struct session *session, struct request *request)
{
    if (need_ids(session, request) != NULL)
        operation_serve(operation_new(session, &purge_kind), request);
}
