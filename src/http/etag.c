/* SPDX-License-Identifier: MIT */
#include "http/etag.h"

#include "base/token.h"

#define DIGEST_SHOWN 16 /* hexadecimal digits */

struct text etag_new(struct arena *arena, int64_t version, const struct document *representation)
{
    char digest[TOKEN_HASH_SIZE];

    token_hash(document_text(arena, representation), digest);
    return text_of(arena_printf(arena, "\"%lld.%.*s\"", (long long)version, DIGEST_SHOWN, digest));
}

static struct text behind(struct text text, size_t count)
{
    return (struct text){text.data + count, text.len - count};
}

bool etag_next(struct text *rest, struct text *ret_tag, bool *ret_weak)
{
    struct text tag = *rest;
    const char *end;
    bool weak;

    while (tag.len > 0 && memchr(" \t,", tag.data[0], 3) != NULL)
        tag = behind(tag, 1);
    weak = text_starts(tag, "W/");
    if (weak)
        tag = behind(tag, 2);
    end = text_starts(tag, "\"") ? memchr(tag.data + 1, '"', tag.len - 1) : NULL;
    if (end == NULL) {
        *rest = tag;
        return false;
    }
    *ret_tag = (struct text){tag.data, (size_t)(end + 1 - tag.data)};
    *ret_weak = weak;
    *rest = behind(tag, ret_tag->len);
    return true;
}

int64_t etag_version(struct text tag)
{
    struct text inside = {tag.data + 1, tag.len - 2};
    const char *dot = memchr(inside.data, '.', inside.len);
    int64_t version;

    if (dot != NULL)
        inside.len = (size_t)(dot - inside.data);
    return text_int64(inside, 1, INT64_MAX, &version) == OK ? version : ETAG_VERSION_UNLIKE;
}

bool etag_is_known(struct text if_none_match, struct text tag)
{
    struct text one;
    bool weak;

    if (text_is(if_none_match, "*"))
        return true;
    while (etag_next(&if_none_match, &one, &weak))
        if (text_equal(one, tag))
            return true;
    return false;
}
