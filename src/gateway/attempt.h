/* SPDX-License-Identifier: MIT
 *
 * Attempts to authenticate that fail, counted by address and by principal for all programs of the
 * host. Who fails too often is told so without the database being asked. That must not shut anybody
 * out who is known: a token that was good in the last day is always looked up, wherever it comes
 * from; and an address that is over its limit has its share of look-ups each minute all the same.
 */
#ifndef OPENCLAW_GATEWAY_ATTEMPT_H
#define OPENCLAW_GATEWAY_ATTEMPT_H

#include "base/option.h"
#include "base/text.h"

/* May this credential, from this address, be looked up? OK, or AUTH_RATE_LIMITED, and *ret_wait_ms
 * says when to come again. An IPv6 address stands for its /64. */
enum error attempt_check(const struct options *options, struct text address, struct text credential,
                         struct failure *failure, int64_t *ret_wait_ms) MUST_CHECK;
/* It was good. */
void attempt_succeeded(struct text credential);
/* It was not; `principal` is whose it had been, "" where it never was. The principal's other tokens
 * are not touched: only who presents ended ones again and again is told to wait. UNAUTHORIZED, or
 * AUTH_RATE_LIMITED. */
enum error attempt_failed(const struct options *options, struct text address, const char *principal,
                          struct failure *failure, int64_t *ret_wait_ms) MUST_CHECK;

#endif
