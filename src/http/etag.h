/* SPDX-License-Identifier: MIT
 *
 * Entity tags and the requests that depend on them (RFC 9110, 8.8.3, 13.1). Ours are
 * "<version>.<digest>": the version counts what was edited, and is what If-Match is about; the
 * digest is of the representation, which also shows what nobody edits (who is subscribed, say).
 */
#ifndef OPENCLAW_HTTP_ETAG_H
#define OPENCLAW_HTTP_ETAG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/document.h"
#include "base/text.h"

#define ETAG_VERSION_UNLIKE (-1) /* of an entity tag that none of ours is */

/* With its quotes; lives in the arena. version: at least 1. */
struct text etag_new(struct arena *arena, int64_t version, const struct document *representation);

/* Takes one tag from the start of a list, with its quotes and without W/. False: *rest is empty, or
 * what it begins with is no entity tag. */
bool etag_next(struct text *rest, struct text *ret_tag, bool *ret_weak);
/* The version in one of ours, as it is or without its digest. */
int64_t etag_version(struct text tag);

/* Is `tag` among those of If-None-Match, compared weakly (8.8.3.2), or is that "*"? What is no list
 * of tags matches nothing, and the answer is a whole one. */
bool etag_is_known(struct text if_none_match, struct text tag);

#endif
