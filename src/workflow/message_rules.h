/* SPDX-License-Identifier: MIT
 *
 * What a message must be, wherever it comes from: the input of routeAgentMessage.
 */
#ifndef OPENCLAW_WORKFLOW_MESSAGE_RULES_H
#define OPENCLAW_WORKFLOW_MESSAGE_RULES_H

#include "base/document.h"
#include "base/error.h"
#include "base/option.h"

#define MESSAGE_PRIORITY_MAX       9
#define MESSAGE_DELAY_MAX_MS       INT64_C(31536000000) /* a year */
#define MESSAGE_METADATA_MAX_BYTES 65536
#define MESSAGE_SESSION_KEY_MAX    256
#define MESSAGE_ENVELOPE_BYTES     4096 /* ids, names and times of a delivery, at most */

/* Errors: INVALID_REQUEST, INVALID_ID, TOO_LARGE; `failure` names the field. */
enum error message_rules_check(const struct options *options, const struct document *input,
                               struct failure *failure) MUST_CHECK;

/* The id by which sender and recipient know a message: the sender's own key where it gave one
 * (the workflow id is "<sender>:<key>"), else the workflow's id. openclaw.message_id does the same.
 */
struct text message_rules_id(struct arena *arena, struct text from, struct text workflow_id);

#endif
