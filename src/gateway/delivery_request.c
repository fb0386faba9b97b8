/* SPDX-License-Identifier: MIT */
#include "gateway/delivery_request.h"

#include "base/text.h"
#include "gateway/inbox.h"
#include "workflow/message_rules.h"

/* A misspelt member must not be as good as none. `inbox` is a frame's; a path names it, too. */
static enum error check_members(struct arena *arena, const struct document *params,
                                const char *members, struct failure *failure)
{
    for (size_t i = 0; i < document_count(params); i++) {
        struct text key = document_key(params, i);

        if (!text_is_word_of(key, members))
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "%.64s is no member of this request; it knows: %s",
                               arena_text(arena, key).data, members);
    }
    return OK;
}

static bool is_given(const struct document *value)
{
    return document_kind(value) > DOCUMENT_NULL;
}

static enum error read_int(const struct document *params, const char *key, int64_t min, int64_t max,
                           int64_t otherwise, struct failure *failure, int64_t *ret_value)
{
    const struct document *value = document_get(params, key);
    int64_t number = document_int(value, otherwise);

    if (is_given(value) && (document_kind(value) != DOCUMENT_INT || number < min || number > max))
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be an integer from %lld to %lld",
                           key, (long long)min, (long long)max);
    *ret_value = is_given(value) ? number : otherwise;
    return OK;
}

static bool are_texts(const struct document *list)
{
    for (size_t i = 0; i < document_count(list); i++) {
        if (document_kind(document_at(list, i)) != DOCUMENT_STRING)
            return false;
    }
    return document_kind(list) == DOCUMENT_ARRAY;
}

static enum error check_id_types(const struct document *list, const struct document *one,
                                 struct failure *failure)
{
    if (is_given(list) && !are_texts(list))
        return failure_set(failure, ERR_INVALID_REQUEST, "deliveryIds must be an array of strings");
    if (is_given(one) && document_kind(one) != DOCUMENT_STRING)
        return failure_set(failure, ERR_INVALID_REQUEST, "deliveryId must be a string");
    return OK;
}

/* `deliveryIds`, or one `deliveryId`. */
static enum error read_ids(struct arena *arena, const struct document *params, size_t most,
                           struct failure *failure, struct delivery_request *request)
{
    const struct document *list = document_get(params, "deliveryIds");
    const struct document *one = document_get(params, "deliveryId");
    bool several = is_given(list);
    size_t count = several ? document_count(list) : is_given(one);
    bool valid = count > 0 && count <= most;
    enum error error = check_id_types(list, one, failure);

    if (error != OK)
        return error;
    request->ids = arena_array(arena, valid ? count : 1, sizeof(*request->ids));
    request->count = count;
    for (size_t i = 0; valid && i < count; i++) {
        request->ids[i] = document_string(several ? document_at(list, i) : one);
        valid = request->ids[i].len > 0 && request->ids[i].len <= DELIVERY_ID_MAX;
    }
    if (valid)
        return OK;
    if (most == 1)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "send deliveryId, a string of 1 to %d bytes", DELIVERY_ID_MAX);
    return failure_set(failure, ERR_INVALID_REQUEST,
                       "send deliveryIds, an array of 1 to %zu strings of 1 to %d bytes", most,
                       DELIVERY_ID_MAX);
}

enum error ack_request_read(struct arena *arena, const struct options *options,
                            const struct document *params, struct failure *failure,
                            struct delivery_request *ret_request)
{
    enum error error = check_members(arena, params, "inbox deliveryIds deliveryId result", failure);

    if (error == OK)
        error = read_ids(arena, params, INBOX_ACK_MAX, failure, ret_request);
    if (error == OK)
        error = inbox_response(arena, options, document_get(params, "result"), failure,
                               &ret_request->response);
    return error;
}

enum error nack_request_read(struct arena *arena, const struct document *params,
                             struct failure *failure, struct delivery_request *ret_request)
{
    const struct document *reason = document_get(params, "reason");
    const struct document *requeue = document_get(params, "requeue");
    enum error error = check_members(
        arena, params, "inbox deliveryId deliveryIds reason delayMs requeue", failure);

    if (error == OK)
        error = read_ids(arena, params, 1, failure, ret_request);
    if (error == OK)
        error = read_int(params, "delayMs", 0, MESSAGE_DELAY_MAX_MS, -1, failure,
                         &ret_request->delay_ms);
    if (error != OK)
        return error;
    ret_request->reason = document_string(reason);
    if (is_given(reason) &&
        (document_kind(reason) != DOCUMENT_STRING || ret_request->reason.len > NACK_REASON_MAX))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "reason must be a string of at most %d bytes", NACK_REASON_MAX);
    if (is_given(requeue) && document_kind(requeue) != DOCUMENT_BOOL)
        return failure_set(failure, ERR_INVALID_REQUEST, "requeue must be true or false");
    ret_request->requeue = document_bool(requeue, true);
    return OK;
}

enum error extend_request_read(struct arena *arena, const struct options *options,
                               const struct document *params, struct failure *failure,
                               struct delivery_request *ret_request)
{
    enum error error =
        check_members(arena, params, "inbox deliveryIds deliveryId leaseMs", failure);

    if (error == OK)
        error = read_ids(arena, params, INBOX_ACK_MAX, failure, ret_request);
    if (error == OK)
        error = read_int(params, "leaseMs", INBOX_LEASE_MIN_MS, INBOX_LEASE_MAX_MS,
                         options->lease_ms, failure, &ret_request->lease_ms);
    return error;
}
