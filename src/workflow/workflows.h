/* SPDX-License-Identifier: MIT
 *
 * The workflow functions, one file each: those of registry.def.
 */
#ifndef OPENCLAW_WORKFLOW_WORKFLOWS_H
#define OPENCLAW_WORKFLOW_WORKFLOWS_H

#include "durable/workflow.h"

#define CHAT_CONVERSATION_MAX 128 /* bytes of a conversation's id */

#define WORKFLOW(name, function, summary, startable) enum error function(struct workflow *workflow);
#include "workflow/registry.def"
#undef WORKFLOW

#endif
