/* SPDX-License-Identifier: MIT
 *
 * Optional members of a request's object: JSON null is as good as absent.
 */
#ifndef OPENCLAW_GATEWAY_MEMBER_H
#define OPENCLAW_GATEWAY_MEMBER_H

#include "base/document.h"
#include "base/error.h"

/* Absent gives TEXT_NONE, or `otherwise`. ERR_INVALID_REQUEST names a member of another type. */
enum error member_text(const struct document *object, const char *key, struct failure *failure,
                       struct text *ret_text) MUST_CHECK;
enum error member_int(const struct document *object, const char *key, int64_t otherwise,
                      struct failure *failure, int64_t *ret_value) MUST_CHECK;

#endif
