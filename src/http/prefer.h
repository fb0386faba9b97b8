/* SPDX-License-Identifier: MIT
 *
 * The Prefer header (RFC 7240), as far as we honour it: respond-async and wait=N.
 */
#ifndef OPENCLAW_HTTP_PREFER_H
#define OPENCLAW_HTTP_PREFER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* Unknown preferences are ignored, as the RFC wants; of one that is given twice the first counts.
 * *ret_wait_s is -1 where none is asked for. Errors: INVALID_REQUEST (wait is no number). */
enum error prefer_parse(struct text header, struct failure *failure, bool *ret_respond_async,
                        int64_t *ret_wait_s) MUST_CHECK;

#endif
