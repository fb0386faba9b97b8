/* SPDX-License-Identifier: MIT */
#include "gateway/message_list.h"

#include <string.h>

#include "gateway/member.h"

static bool given(const struct document *object, const char *key)
{
    return document_kind(document_get(object, key)) == DOCUMENT_INT;
}

enum error message_request_read(const struct document *object, struct failure *failure,
                                struct message_request *ret_request)
{
    struct message_request request = {.delay_ms = -1, .ttl_ms = -1, .priority = -1};
    const struct document *metadata = document_get(object, "metadata");
    const struct document *timestamp = document_get(object, "timestamp");
    enum error error;

    if (document_kind(object) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "a message must be a JSON object");
    if ((error = member_text(object, "id", failure, &request.key)) != OK ||
        (error = member_text(object, "from", failure, &request.from)) != OK ||
        (error = member_text(object, "to", failure, &request.to)) != OK ||
        (error = member_int(object, "delayMs", -1, failure, &request.delay_ms)) != OK ||
        (error = member_int(object, "ttlMs", -1, failure, &request.ttl_ms)) != OK ||
        (error = member_int(object, "priority", -1, failure, &request.priority)) != OK)
        return error;
    /* -1 means "not given" below this; who gives a negative number must not be taken for that */
    if ((request.delay_ms < 0 && given(object, "delayMs")) ||
        (request.ttl_ms < 0 && given(object, "ttlMs")) ||
        (request.priority < 0 && given(object, "priority")))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "delayMs, ttlMs and priority are not negative");
    if (document_kind(metadata) != DOCUMENT_ABSENT && document_kind(metadata) != DOCUMENT_NULL &&
        document_kind(metadata) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "metadata must be an object");
    request.content = document_get(object, "content");
    request.metadata =
        document_kind(metadata) == DOCUMENT_OBJECT ? document_get(object, "metadata") : NULL;
    /* A client's own time is carried along where it is a number, and decides nothing. */
    request.timestamp = document_kind(timestamp) == DOCUMENT_INT ? document_int(timestamp, 0) : 0;
    *ret_request = request;
    return OK;
}

struct document *message_answer(struct arena *arena, const struct message_receipt *receipt)
{
    struct document *answer = document_object(arena);

    document_put_bool(answer, "success", true);
    document_put_text(answer, "workflowUuid", receipt->workflow_id);
    document_put(answer, "result", message_result(arena, receipt));
    return answer;
}

static enum error add_item(struct message_list *list, enum error parsed,
                           const struct document *item, struct failure *failure)
{
    size_t i = list->count;
    enum error error = parsed;

    if (i == MESSAGE_LIST_MAX)
        return failure_set(failure, ERR_TOO_LARGE, "a batch has %d messages at most",
                           MESSAGE_LIST_MAX);
    list->count++;
    if (error == OK)
        error = message_request_read(item, failure, &list->requests[list->sendable]);
    if (error == OK)
        list->positions[i] = list->sendable++;
    else
        list->failures[i] = *failure;
    list->failures[i].error = error;
    return OK;
}

/* The limits of a message that comes alone. */
static enum error parse_item(struct arena *arena, const struct options *options, struct text text,
                             struct failure *failure, struct document **ret_item)
{
    struct document_limits limits = {(size_t)options->max_message_size, DOCUMENT_DEPTH_MAX,
                                     DOCUMENT_VALUES_MAX};

    return document_parse(arena, text, &limits, failure, ret_item);
}

static enum error add_lines(struct arena *arena, const struct options *options, struct text body,
                            struct failure *failure, struct message_list *list)
{
    struct text rest = body;
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
        error = parse_item(arena, options, line, failure, &item);
        error = add_item(list, error, item, failure);
    }
    return error;
}

/* What is no JSON makes the whole no array; any other fault is its item's alone. */
static enum error add_elements(struct arena *arena, const struct options *options, struct text body,
                               struct failure *failure, struct message_list *list)
{
    struct document_elements elements;
    enum error error = document_elements_begin(body, failure, &elements);

    if (error == ERR_INVALID_REQUEST)
        return failure_set(failure, error, "the body must be an array of messages, or NDJSON");
    while (error == OK && !document_elements_end(&elements)) {
        struct failure item_failure = {0};
        struct document *item = NULL;
        struct text element;

        error = document_elements_next(&elements, failure, &element);
        if (error != OK)
            break;
        error = parse_item(arena, options, element, &item_failure, &item);
        if (error == ERR_INVALID_JSON)
            return failure_set(failure, error, "item %zu, %s", list->count, item_failure.detail);
        error = add_item(list, error, item, &item_failure);
        if (error != OK)
            *failure = item_failure;
    }
    return error;
}

enum error message_list_read(struct arena *arena, const struct options *options, struct text body,
                             bool lines, struct failure *failure, struct message_list *ret_list)
{
    struct message_list list = {
        .failures = arena_array(arena, MESSAGE_LIST_MAX, sizeof(struct failure)),
        .positions = arena_array(arena, MESSAGE_LIST_MAX, sizeof(size_t)),
        .requests = arena_array(arena, MESSAGE_LIST_MAX + 1, sizeof(struct message_request)),
    };
    enum error error = lines ? add_lines(arena, options, body, failure, &list)
                             : add_elements(arena, options, body, failure, &list);

    if (error == OK && list.count == 0)
        error = failure_set(failure, ERR_INVALID_REQUEST, "the batch is empty");
    if (error == OK)
        *ret_list = list;
    return error;
}

static struct document *item_answer(struct arena *arena, const struct message_list *list, size_t i,
                                    const struct message_receipt *receipts,
                                    struct document *(*refusal)(struct arena *arena,
                                                                const struct failure *failure))
{
    const struct failure *failure = &list->failures[i];
    struct document *answer;

    if (failure->error == OK) {
        const struct message_receipt *receipt = &receipts[list->positions[i]];

        if (receipt->error == OK) {
            answer = message_answer(arena, receipt);
            return document_put_bool(answer, "duplicate", receipt->duplicate);
        }
        failure = &receipt->failure;
    }
    answer = refusal(arena, failure);
    return document_put_bool(answer, "success", false);
}

struct document *message_list_answer(struct arena *arena, const struct message_list *list,
                                     const struct message_receipt *receipts,
                                     struct document *(*refusal)(struct arena *arena,
                                                                 const struct failure *failure))
{
    struct document *results = document_array(arena);
    struct document *answer = document_object(arena);
    int64_t accepted = 0;

    for (size_t i = 0; i < list->count; i++) {
        accepted += list->failures[i].error == OK && receipts[list->positions[i]].error == OK;
        document_append(results, item_answer(arena, list, i, receipts, refusal));
    }
    document_put_bool(answer, "success", accepted == (int64_t)list->count);
    document_put_int(answer, "accepted", accepted);
    document_put_int(answer, "refused", (int64_t)list->count - accepted);
    return document_put(answer, "results", results);
}
