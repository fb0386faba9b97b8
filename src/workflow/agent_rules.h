/* SPDX-License-Identifier: MIT
 *
 * What can be said of an agent, wherever it is said: the input of provisionAgent, and a change.
 */
#ifndef OPENCLAW_WORKFLOW_AGENT_RULES_H
#define OPENCLAW_WORKFLOW_AGENT_RULES_H

#include "base/document.h"
#include "base/error.h"

#define AGENT_NAME_MAX           200 /* bytes, of the name for people */
#define AGENT_PERSONA_MAX        16384
#define AGENT_USER_MAX           256
#define AGENT_MODEL_MAX          200
#define AGENT_CONFIGURATION_MAX  65536 /* bytes of JSON */
#define AGENT_ALLOW_MAX          1000  /* names on the list of who may write to it */
#define AGENT_INBOX_LIMIT_MAX    100000000
#define HEARTBEAT_CHECKLIST_MAX  50   /* items */
#define HEARTBEAT_ITEM_MAX       1000 /* bytes of one */
#define HEARTBEAT_TIMEOUT_MIN_MS 1000
#define HEARTBEAT_TIMEOUT_MAX_MS 600000
#define HEARTBEAT_TIMEOUT_MS     120000 /* where nothing is said */

/* `settings` is an object of some of: name, persona, model ("provider/name"), userId, sessionKey
 * ("agent:<agent_id>:<session>"), inboxLimit, allowFrom, status, heartbeat, configuration; null
 * clears one. Members whose names are in `others` (separated by spaces; may be NULL) are somebody
 * else's affair. Errors: INVALID_REQUEST, INVALID_ID, TOO_LARGE; `failure` names the member. */
enum error agent_settings_check(const struct document *settings, struct text agent_id,
                                const char *others, struct failure *failure) MUST_CHECK;

/* An array of at most HEARTBEAT_CHECKLIST_MAX strings. */
enum error heartbeat_checklist_check(const struct document *checklist,
                                     struct failure *failure) MUST_CHECK;

/* May an agent be made with this id? Not one whose workflow ids would be the gateway's own (the
 * constraint principal_id_not_reserved). ERR_INVALID_ID. */
enum error agent_id_check(struct text id, struct failure *failure) MUST_CHECK;

#endif
