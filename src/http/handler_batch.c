/* SPDX-License-Identifier: MIT
 *
 * POST /messages/batch: an array, or one message on each line (NDJSON). All that are well-formed
 * go to the database in one call; each item has its own answer, in the order of the items.
 */
#include "http/handler.h"

#include <string.h>

#include "http/committer.h"
#include "http/message_body.h"

#define BATCH_ITEMS_MAX  1000
#define BATCH_VALUES_MAX (BATCH_ITEMS_MAX * 100)

struct batch {
    size_t count;             /* items */
    size_t sendable;          /* of them in `requests` */
    struct failure *failures; /* of item i; error OK: it is requests[position[i]] */
    size_t *positions;
    struct message_request *requests;
};

static enum error add_item(struct http_context *context, struct batch *batch, enum error parsed,
                           const struct document *item)
{
    size_t i = batch->count;
    enum error error = parsed;

    if (i == BATCH_ITEMS_MAX)
        return failure_set(&context->failure, ERR_TOO_LARGE, "a batch has %d messages at most",
                           BATCH_ITEMS_MAX);
    batch->count++;
    if (error == OK)
        error = message_from_body(context, item, &batch->requests[batch->sendable]);
    if (error == OK)
        batch->positions[i] = batch->sendable++;
    else
        batch->failures[i] = context->failure;
    batch->failures[i].error = error;
    return OK;
}

static enum error add_lines(struct http_context *context, struct batch *batch)
{
    struct document_limits limits = {(size_t)context->server->options->max_message_size,
                                     DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX};
    struct text rest = context->request->body;
    enum error error = OK;

    while (error == OK && rest.len > 0) {
        const char *end = memchr(rest.data, '\n', rest.len);
        struct text line = {rest.data, end != NULL ? (size_t)(end - rest.data) : rest.len};
        size_t used = line.len + (end != NULL ? 1 : 0);
        struct document *item = NULL;

        rest = (struct text){rest.data + used, rest.len - used};
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0)
            continue;
        error = document_parse(context->arena, line, &limits, &context->failure, &item);
        error = add_item(context, batch, error, item);
    }
    return error;
}

static enum error add_elements(struct http_context *context, struct batch *batch)
{
    struct document_limits limits = {HTTP_BATCH_BODY_MAX, DOCUMENT_DEPTH_MAX, BATCH_VALUES_MAX};
    struct document *array;
    enum error error =
        document_parse(context->arena, context->request->body, &limits, &context->failure, &array);

    if (error != OK)
        return error;
    if (document_kind(array) != DOCUMENT_ARRAY)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "the body must be an array of messages, or NDJSON");
    for (size_t i = 0; error == OK && i < document_count(array); i++)
        error = add_item(context, batch, OK, document_at(array, i));
    return error;
}

static struct document *item_answer(struct arena *arena, const struct batch *batch, size_t i,
                                    const struct message_receipt *receipts)
{
    const struct failure *failure = &batch->failures[i];
    struct document *answer;

    if (failure->error == OK) {
        const struct message_receipt *receipt = &receipts[batch->positions[i]];

        if (receipt->error == OK) {
            answer = message_answer(arena, receipt);
            return document_put_bool(answer, "duplicate", receipt->duplicate);
        }
        failure = &receipt->failure;
    }
    answer = problem_document(arena, failure);
    return document_put_bool(answer, "success", false);
}

static void write_answers(struct http_context *context, const struct batch *batch,
                          const struct message_receipt *receipts)
{
    struct document *results = document_array(context->arena);
    struct document *answer = document_object(context->arena);
    int64_t accepted = 0;

    for (size_t i = 0; i < batch->count; i++) {
        accepted += batch->failures[i].error == OK && receipts[batch->positions[i]].error == OK;
        document_append(results, item_answer(context->arena, batch, i, receipts));
    }
    document_put_bool(answer, "success", accepted == (int64_t)batch->count);
    document_put_int(answer, "accepted", accepted);
    document_put_int(answer, "refused", (int64_t)batch->count - accepted);
    document_put(answer, "results", results);
    response_json(context->response, 200, answer);
}

enum error handle_message_batch(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct batch batch = {
        .failures = arena_array(arena, BATCH_ITEMS_MAX, sizeof(struct failure)),
        .positions = arena_array(arena, BATCH_ITEMS_MAX, sizeof(size_t)),
        .requests = arena_array(arena, BATCH_ITEMS_MAX + 1, sizeof(struct message_request)),
    };
    struct message_receipt *receipts = NULL;
    enum error error = idempotency_key_refuse(context, "give each item an id");

    if (error == OK)
        error = request_is_media(context->request, "application/x-ndjson", NULL)
                    ? add_lines(context, &batch)
                    : add_elements(context, &batch);
    if (error != OK)
        return error;
    if (batch.count == 0)
        return failure_set(&context->failure, ERR_INVALID_REQUEST, "the batch is empty");
    if (batch.sendable > 0) {
        /* With AUTH_MODE=none all are from whoever the first says: one batch has one sender. */
        struct principal principal = message_principal(context, &batch.requests[0]);

        receipts = arena_array(arena, batch.sendable, sizeof(*receipts));
        error =
            committer_send(context->server->committer, arena, &principal, batch.requests,
                           batch.sendable, context->request->body.len, &context->failure, receipts);
        if (error != OK)
            return error;
    }
    write_answers(context, &batch, receipts);
    return OK;
}
