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

/* What is not known or not understood is ignored, as the RFC wants (section 2); of one that is
 * given twice the first counts. *ret_wait_s is -1 where no wait is asked for. */
void prefer_parse(struct text header, bool *ret_respond_async, int64_t *ret_wait_s);

#endif
