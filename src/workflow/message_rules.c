/* SPDX-License-Identifier: MIT */
#include "workflow/message_rules.h"

#include <string.h>

/* An optional whole number within bounds. */
static enum error check_number(const struct document *input, const char *key, int64_t min,
                               int64_t max, struct failure *failure)
{
    const struct document *value = document_get(input, key);
    int64_t number;

    if (document_kind(value) == DOCUMENT_ABSENT)
        return OK;
    number = document_int(value, min - 1);
    if (document_kind(value) != DOCUMENT_INT || number < min || number > max)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "%s must be a whole number from %lld to %lld", key, (long long)min,
                           (long long)max);
    return OK;
}

static enum error check_content(const struct options *options, const struct document *input,
                                struct failure *failure)
{
    const struct document *content = document_get(input, "content");
    const struct document *metadata = document_get(input, "metadata");
    struct arena *arena;
    size_t size, metadata_size;

    if (document_kind(content) == DOCUMENT_ABSENT || document_kind(content) == DOCUMENT_NULL)
        return failure_set(failure, ERR_INVALID_REQUEST, "content is required");
    if (metadata && document_kind(metadata) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "metadata must be an object");

    arena = arena_new();
    size = document_text(arena, content).len;
    metadata_size = metadata ? document_text(arena, metadata).len : 0;
    arena_free(arena);
    /* one frame must hold it on its way out, too */
    if (size + metadata_size + MESSAGE_ENVELOPE_BYTES > (size_t)options->max_message_size)
        return failure_set(failure, ERR_TOO_LARGE, "content and metadata may have %lld bytes",
                           (long long)options->max_message_size - MESSAGE_ENVELOPE_BYTES);
    if (metadata_size > MESSAGE_METADATA_MAX_BYTES)
        return failure_set(failure, ERR_TOO_LARGE, "metadata may have %d bytes",
                           MESSAGE_METADATA_MAX_BYTES);
    return OK;
}

enum error message_rules_check(const struct options *options, const struct document *input,
                               struct failure *failure)
{
    struct text session_key = document_get_string(input, "sessionKey");
    enum error error;

    if (document_kind(input) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "a message must be an object");
    if (!text_is_agent_id(document_get_string(input, "from")))
        return failure_set(failure, ERR_INVALID_ID,
                           "from must be 1 to %d letters, digits, dots, dashes or underscores",
                           AGENT_ID_MAX);
    if (!text_is_agent_id(document_get_string(input, "to")))
        return failure_set(failure, ERR_INVALID_ID,
                           "to must be an agent id or a session key agent:<id>:<session>");
    if (session_key.len > MESSAGE_SESSION_KEY_MAX)
        return failure_set(failure, ERR_TOO_LARGE, "a session key may have %d bytes",
                           MESSAGE_SESSION_KEY_MAX);
    error = check_content(options, input, failure);
    if (!error)
        error = check_number(input, "delayMs", 0, MESSAGE_DELAY_MAX_MS, failure);
    if (!error)
        error = check_number(input, "ttlMs", 1, MESSAGE_DELAY_MAX_MS, failure);
    if (!error)
        error = check_number(input, "priority", 0, MESSAGE_PRIORITY_MAX, failure);
    return error;
}

struct text message_rules_id(struct arena *arena, struct text from, struct text workflow_id)
{
    if (workflow_id.len > from.len + 1 && from.len > 0 &&
        memcmp(workflow_id.data, from.data, from.len) == 0 && workflow_id.data[from.len] == ':')
        return (struct text){workflow_id.data + from.len + 1, workflow_id.len - from.len - 1};
    return arena_text(arena, workflow_id);
}
