/* SPDX-License-Identifier: MIT */
#include "gateway/payload.h"

static struct document *decode(struct arena *arena, struct text serialization, struct text stored)
{
    struct document *value = NULL;

    if (stored.data == NULL)
        return document_null(arena);
    if (document_parse_stored(arena, stored, NULL, &value) != OK)
        return document_from_text(arena, stored);
    if (text_is(serialization, "js_superjson") && document_get(value, "__dbos_serializer") != NULL)
        return document_get(value, "json");
    return value;
}

struct document *payload_value(struct arena *arena, struct text serialization, struct text stored)
{
    return document_copy(arena, decode(arena, serialization, stored));
}

struct document *payload_input(struct arena *arena, struct text serialization, struct text stored)
{
    struct document *input = decode(arena, serialization, stored);
    struct document *positional = document_get(input, "positionalArgs");

    if (document_kind(positional) != DOCUMENT_ARRAY)
        positional = input; /* a native client stores the bare array */
    else if (document_count(document_get(input, "namedArgs")) > 0)
        return document_copy(arena, input);
    if (document_kind(positional) == DOCUMENT_ARRAY && document_count(positional) == 1)
        return document_copy(arena, document_at(positional, 0));
    return document_copy(arena, positional);
}
